"""`serve loadtest`: measure a Triton endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import loadtest_options as asked
from serve_cli import output
from serve_cli.options import Json
from serve_deploy.errors import EndpointError, Interrupted, UsageError

if TYPE_CHECKING:
    from serve_deploy.loadtest.report import LoadTestReport, Point
    from serve_deploy.loadtest.schedule import LoadShape


def loadtest(
    url: asked.Url,
    model: asked.Model,
    model_version: asked.ModelVersion = "",
    concurrency: asked.Concurrency = None,
    rate: asked.Rate = None,
    poisson: asked.Poisson = False,
    ramp: asked.Ramp = None,
    duration: asked.Duration = None,
    warmup: asked.Warmup = 1.0,
    requests: asked.RequestCount = None,
    repeat: asked.Repeat = 1,
    timeout: asked.Timeout = 30.0,
    batch_size: asked.BatchSize = 1,
    processes: asked.Processes = 1,
    connections: asked.Connections = 1000,
    shape: asked.Shape = None,
    seed: asked.Seed = 0,
    json: Json = False,
) -> None:
    """Measure a Triton endpoint honestly: from the intended send, with nothing left out.

    \b
    serve loadtest http://localhost:8000 -m digits -c 8
    serve loadtest grpc://localhost:8001 -m digits --rate 100..1000 --poisson
    """
    from serve_deploy.loadtest import LoadTestOptions, run_loadtest
    from serve_deploy.loadtest.endpoint import parse_endpoint

    options = LoadTestOptions(
        endpoint=parse_endpoint(url),
        model=model,
        model_version=model_version,
        loads=read_loads(concurrency, rate, ramp, poisson=poisson, seed=seed),
        duration_seconds=duration if duration or requests else 10.0,
        requests=requests,
        warmup_seconds=warmup,
        repeat=repeat,
        timeout_seconds=timeout,
        batch_size=batch_size,
        processes=processes,
        connections=connections,
        shapes=tuple(map(read_shape, shape or [])),
        seed=seed,
    )
    with output.progress() as progress:
        report = run_loadtest(options, progress=progress)
    output.emit(report, as_json=json, render=print_report)
    conclude(report)


def read_loads(
    concurrency: str | None, rate: str | None, ramp: str | None, *, poisson: bool, seed: int
) -> tuple[LoadShape, ...]:
    """The points to measure; one closed-loop user where nothing was asked for."""
    from serve_deploy.loadtest import schedule

    if sum(option is not None for option in (concurrency, rate, ramp)) > 1:
        raise UsageError("--concurrency, --rate and --ramp exclude each other")
    if poisson and not rate:
        raise UsageError("--poisson needs a --rate")
    if ramp:
        return (schedule.Ramp(*schedule.parse_ramp(ramp)),)
    if rate:
        rates = schedule.parse_rates(rate)
        return tuple(schedule.PoissonRate(value, seed) if poisson else schedule.ConstantRate(value) for value in rates)
    return tuple(map(schedule.ClosedLoop, schedule.parse_concurrencies(concurrency or "1")))


def read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `IN:3,224,224`."""
    name, separator, dims = text.rpartition(":")
    try:
        shape = tuple(int(dim) for dim in dims.split(","))
    except ValueError:
        shape = ()
    if not separator or not name or not shape or min(shape) < 1:
        raise UsageError(f"--shape {text}: not a shape", hint="write it as INPUT:DIMS, such as IN:3,224,224")
    return name, shape


def print_report(report: LoadTestReport) -> None:
    """The points as a table, and below it what spoils them."""
    columns = ("load", "inferences/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "failed", "timed out")
    output.print_table(columns, [_row(point) for point in report.points])
    console = output.stdout()
    for point in report.points:
        for reason in point.client_bound_reasons:
            console.print(f"client-bound at {_load(point)}: {reason}", markup=False)
        for error in point.errors:
            console.print(f"{error.count} × {error.kind}: {error.example}", markup=False)


def _load(point: Point) -> str:
    load = point.load
    return f"concurrency {load.concurrency}" if load.mode == "closed" else f"{load.request_rate:g}/s"


def _row(point: Point) -> tuple[object, ...]:
    latency = point.response
    percentiles = (latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us)
    figures = [f"{value / 1e3:.2f}" for value in percentiles]
    return (_load(point), f"{point.throughput:.1f}", *figures, point.failed, point.timed_out)


def conclude(report: LoadTestReport) -> None:
    """End with the exit code that fits a run that was cut short, or in which nothing succeeded."""
    reason = report.interrupted_reason or ""
    if report.ended_by == "interrupt":
        raise Interrupted(f"{reason}; the report is partial")
    if report.ended_by == "server":
        raise EndpointError(f"{reason}; the report goes up to there")
    if report.points and not any(point.succeeded for point in report.points):
        errors = report.points[0].errors
        raise EndpointError("no request succeeded" + (f": {errors[0].example}" if errors else ""))
