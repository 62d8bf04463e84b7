"""Sweeps that keep Little's law, with figures made for working by hand."""

from __future__ import annotations

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.point import ClientCost, Load, ModelStatistics, Point
from serve_deploy.reports.report import LoadTestReport, Target

TARGET = Target(
    url="http://127.0.0.1:8000", protocol="http", model="digits", model_version="1", server_version="2.51.0",
    platform="onnxruntime_onnx", max_batch_size=8, model_config_sha256="a" * 64, inputs=("x",), outputs=("y",),
)  # fmt: skip
CLIENT = ClientCost(cpu_fraction=0.3, cpu_us_per_request=20, slip_p50_us=0, slip_p99_us=1, slip_max_us=2)


def latency(mean_ms: float, p99_ms: float) -> LatencySummary:
    """A summary by its mean and p99."""
    us = {"mean_us": mean_ms * 1e3, "min_us": 1, "p50_us": mean_ms * 1e3, "p90_us": 1, "p95_us": 1}
    return LatencySummary(count=1000, p99_us=p99_ms * 1e3, p999_us=p99_ms * 1e3, max_us=p99_ms * 1e3, **us)


def point(concurrency: int, rate: float, p99_ms: float, **changes: object) -> Point:
    """A closed-loop point of 10 s that keeps Little's law: concurrency = rate * mean."""
    mean_ms = concurrency / rate * 1e3
    fields: dict[str, object] = {
        "load": Load(mode="closed", concurrency=concurrency), "started_at": "2026-01-01T00:00:00Z",
        "duration_seconds": 10.0, "sent": 1000, "succeeded": 1000, "failed": 0, "timed_out": 0, "in_flight_at_end": 0,
        "request_rate": rate, "throughput": rate, "mean_in_flight": float(concurrency),
        "response": latency(mean_ms, p99_ms), "service": latency(mean_ms, p99_ms), "client": CLIENT,
    }  # fmt: skip
    return Point(**(fields | changes))


def statistics(model: str, requests: int, queue_us: float, infer_us: float) -> ModelStatistics:
    return ModelStatistics(
        model=model, requests=requests, inferences=requests, executions=requests, failures=0, queue_us=queue_us,
        compute_input_us=0, compute_infer_us=infer_us, compute_output_us=0, average_batch_size=1,
    )  # fmt: skip


def streams(concurrency: int, rate: float, first_ms: float, gap_ms: float, **changes: object) -> Point:
    """Streams whose first token and whose gaps take so long, all alike; 90 of 100 are good, from 16 in flight on 50."""
    generation = Generation(
        protocol="triton", time_to_first_token=latency(first_ms, first_ms), inter_token=latency(gap_ms, gap_ms),
        time_per_output_token=latency(gap_ms, gap_ms), input_tokens=None, output_tokens=1000, pieces=1000,
        input_tokens_per_second=None, output_tokens_per_second=100.0, output_counted_by={"usage": 10},
        input_counted_by={"usage": 10}, good=900 if concurrency < 16 else 500,
    )  # fmt: skip
    return point(concurrency, rate, 1e3 * concurrency / rate, generation=generation, **changes)


# 100, 180, 240, 250 requests/s: the server saturates near 250, the p99 passes 50 ms between 4 and 8 in flight.
SWEEP = (point(1, 100, 12), point(2, 180, 20), point(4, 240, 45), point(8, 250, 90))

# At four in flight the machine was disturbed: that point took far longer than its neighbours say.
UNEVEN = tuple(
    point(users, rate, 1.2, server=(statistics("digits", rate * 10, 0, in_flight / rate * 1e6),))
    for users, rate, in_flight in ((1, 1539, 0.85), (2, 2994, 1.66), (4, 4486, 3.91), (8, 11_588, 6.73))
)


def report(*points: Point) -> LoadTestReport:
    return LoadTestReport(tool_version="1", kind="sweep", target=TARGET, complete=True, points=points or SWEEP)
