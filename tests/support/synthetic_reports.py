"""Load-test reports made by hand or from a known distribution, for tests that need to know the truth."""

from __future__ import annotations

import itertools

import numpy as np

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.point import ClientCost, ErrorKind, Load, ModelStatistics, Point, RequestData, TimelineBucket
from serve_deploy.reports.report import LoadTestReport, Target

TARGET = Target(
    url="http://127.0.0.1:8000",
    protocol="http",
    model="digits",
    model_version="1",
    server_version="2.51.0",
    platform="onnxruntime_onnx",
    max_batch_size=8,
    model_config_sha256="0f" * 32,
    inputs=("image FP32 [-1,64]",),
    outputs=("label INT64 [-1]", "probabilities FP32 [-1,10]"),
)
DATA = RequestData(origin="package", samples=32, path="models/digits/samples.npz")
FAST_CLIENT = ClientCost(
    cpu_fraction=0.12, cpu_us_per_request=18.0, slip_p50_us=3.0, slip_p99_us=410.0, slip_max_us=1900.0
)


def summarise_latency(samples_us: np.ndarray) -> LatencySummary:
    """Summarise samples in 0.8 % buckets, as the real histograms do; rounded, so that any machine gets the same."""
    samples_us = np.round(samples_us, 1)
    if not samples_us.size:
        return LatencySummary(
            count=0, mean_us=0, min_us=0, p50_us=0, p90_us=0, p95_us=0, p99_us=0, p999_us=0, max_us=0
        )  # fmt: skip
    buckets = np.floor(1.008 ** np.floor(np.log(samples_us) / np.log(1.008))).astype(int)
    bounds, counts = np.unique(buckets, return_counts=True)
    p50, p90, p95, p99, p999 = np.quantile(samples_us, (0.5, 0.9, 0.95, 0.99, 0.999), method="inverted_cdf").tolist()
    return LatencySummary(
        count=samples_us.size,
        mean_us=round(float(samples_us.mean()), 2),
        min_us=float(samples_us.min()),
        p50_us=p50,
        p90_us=p90,
        p95_us=p95,
        p99_us=p99,
        p999_us=p999,
        max_us=float(samples_us.max()),
        histogram=tuple(zip(bounds.tolist(), counts.tolist(), strict=True)),
    )


def make_timeline(starts_s: np.ndarray, samples_us: np.ndarray, seconds: float) -> tuple[TimelineBucket, ...]:
    """Slice a run into 50 buckets by the end of each request."""
    samples_us = np.round(samples_us, 1)
    ends = starts_s + samples_us / 1e6
    edges = np.linspace(0, seconds, 51)
    buckets = []
    for low, high in itertools.pairwise(edges):
        ended = samples_us[(ends >= low) & (ends < high)]
        p50, p99, highest = np.quantile(ended, (0.5, 0.99, 1)).tolist() if ended.size else (0.0, 0.0, 0.0)
        buckets.append(
            TimelineBucket(
                start_seconds=round(float(low), 3),
                duration_seconds=round(float(high - low), 3),
                succeeded=int(ended.size),
                failed=0,
                in_flight=int(((starts_s < high) & (ends >= high)).sum()),
                response_p50_us=p50,
                response_p99_us=p99,
                response_max_us=highest,
            )
        )
    return tuple(buckets)


def make_point(
    load: Load | None = None,
    *,
    response_us: np.ndarray | None = None,
    service_us: np.ndarray | None = None,
    starts_s: np.ndarray | None = None,
    duration_seconds: float = 10.0,
    errors: tuple[ErrorKind, ...] = (),
    queue_us: float = 600.0,
    **changes: object,
) -> Point:
    """Make a measurement whose counts agree with its samples."""
    load = load or Load(mode="open", request_rate=200.0, distribution="constant")
    response_us = np.full(2000, 5000.0) if response_us is None else response_us
    service_us = response_us if service_us is None else service_us
    timed_out = sum(error.count for error in errors if error.kind == "timeout")
    failed = sum(error.count for error in errors) - timed_out
    answered = int(response_us.size)
    mean_us = round(float(service_us.mean()), 2) if answered else 0.0
    point = Point(
        load=load,
        started_at="2026-11-23T03:00:00+00:00",
        duration_seconds=duration_seconds,
        sent=answered + failed + timed_out,
        succeeded=answered,
        failed=failed,
        timed_out=timed_out,
        in_flight_at_end=0,
        request_rate=answered / duration_seconds,
        throughput=answered * load.batch_size / duration_seconds,
        mean_in_flight=round(answered * mean_us / 1e6 / duration_seconds, 3),
        response=summarise_latency(response_us),
        service=summarise_latency(service_us),
        errors=errors,
        client=FAST_CLIENT,
        server=(
            ModelStatistics(
                model="digits",
                requests=answered,
                inferences=answered * load.batch_size,
                executions=max(1, answered // 2),
                failures=0,
                queue_us=queue_us,
                compute_input_us=40.0,
                compute_infer_us=round(max(1.0, mean_us - queue_us - 400), 1),
                compute_output_us=25.0,
                average_batch_size=2.0 * load.batch_size,
            ),
        )
        if answered
        else (),
        timeline=make_timeline(starts_s, response_us, duration_seconds) if starts_s is not None else (),
    )
    return point.model_copy(update=changes)


def make_stalled_point(seed: int = 7) -> Point:
    """Ten seconds at 200/s on a 5 ms server that stalls for half a second at 4 s."""
    random = np.random.default_rng(seed)
    starts = np.arange(2000) / 200
    service = 5000 + random.gamma(2.0, 150.0, starts.size)
    response = service.copy()
    stalled = (starts >= 4.0) & (starts < 4.5)
    response[stalled] += (4.5 - starts[stalled]) * 1e6
    return make_point(response_us=response, service_us=service, starts_s=starts)


def make_sweep(seed: int = 3, repeats: int = 3) -> tuple[Point, ...]:
    """A closed-loop sweep on a server that tops out at 400 inferences/s; the last load is client-bound."""
    random = np.random.default_rng(seed)
    points = []
    for concurrency in (1, 2, 4, 8, 16):
        for repeat in range(repeats):
            rate = min(195.0 * concurrency, 400.0) * random.normal(1, 0.01)
            mean_us = concurrency / rate * 1e6
            count = int(rate * 5)
            samples = mean_us * random.lognormal(-0.02, 0.2, count)
            load = Load(mode="closed", concurrency=concurrency)
            starts = np.sort(random.uniform(0, 5, count))
            bound = concurrency == 16
            points.append(
                make_point(
                    load,
                    response_us=samples,
                    starts_s=starts,
                    duration_seconds=5.0,
                    queue_us=round(max(20.0, mean_us - 5100), 1),
                    repeat=repeat,
                    client_bound=bound,
                    client_bound_reasons=("its CPU was 97 % busy",) if bound else (),
                )
            )
    return tuple(points)


def make_report(*points: Point, **changes: object) -> LoadTestReport:
    """Wrap points into a complete report."""
    points = points or (make_point(),)
    kind = "sweep" if len({point.load for point in points}) > 1 else "single"
    report = LoadTestReport(tool_version="0.1.0", kind=kind, target=TARGET, data=DATA, complete=True, points=points)
    return report.model_copy(update=changes)
