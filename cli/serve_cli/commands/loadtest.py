"""`serve loadtest`: measure a Triton endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serve_cli import load_endpoint, load_find, load_live, load_report
from serve_cli import loadtest_options as asked
from serve_cli.options import Json
from serve_cli.output import progress
from serve_deploy.errors import EndpointError, Interrupted, ServeError, UsageError

if TYPE_CHECKING:
    from serve_deploy.loadtest.schedule import LoadShape
    from serve_deploy.reports.report import LoadTestReport


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
    repeat: asked.Repeat = None,
    timeout: asked.Timeout = 30.0,
    batch_size: asked.BatchSize = 1,
    processes: asked.Processes = 1,
    connections: asked.Connections = 1000,
    shape: asked.Shape = None,
    seed: asked.Seed = 0,
    replay: asked.ReplayFile = None,
    data: asked.Data = None,
    expected: asked.Expected = None,
    repository: asked.SamplesFrom = None,
    validate: asked.Validate = False,
    string_length: asked.StringLength = 16,
    sequence_length: asked.SequenceLength = 20,
    streaming: asked.Streaming = False,
    shared_memory: asked.SharedMemoryName = asked.SharedMemory.NONE,
    metrics_url: asked.MetricsUrl = None,
    header: load_endpoint.Header = None,
    token_file: load_endpoint.TokenFile = None,
    ca_cert: load_endpoint.CaCertificate = None,
    cert: load_endpoint.Certificate = None,
    key: load_endpoint.Key = None,
    insecure: load_endpoint.Insecure = False,
    compression: load_endpoint.Compression = None,
    slo: load_report.Slo = None,
    baseline: load_report.BaselineFile = None,
    min_effect: load_report.MinimumEffect = 0.05,
    find: load_find.Find = None,
    output: load_report.Output = None,
    metrics_port: load_live.MetricsPort = None,
    pushgateway: load_live.Pushgateway = None,
    json: Json = False,
) -> None:
    """Measure a Triton endpoint honestly: from the intended send, with nothing left out.

    \b
    serve loadtest http://localhost:8000 -m digits -c 8
    serve loadtest grpc://localhost:8001 -m digits --rate 100..1000 --poisson
    serve loadtest http://localhost:8000 -m digits -r 200 --slo 'p99<50ms' -o run.html
    serve loadtest http://localhost:8000 -m digits --find rate --slo 'p99<50ms'
    """
    from serve_deploy.loadtest import LoadTestOptions

    ending = load_report.prepare_ending(
        slo=slo, baseline=baseline, min_effect=min_effect, outputs=output, printed="json" if json else "table"
    )
    no_search = {"--ramp": ramp, "--replay": replay, "--baseline": baseline}
    search = load_find.read_search(find, concurrency, rate, no_search) if find else None
    options = LoadTestOptions(
        endpoint=load_endpoint.read_endpoint(
            url,
            header=header,
            token_file=token_file,
            ca_cert=ca_cert,
            cert=cert,
            key=key,
            insecure=insecure,
            compression=compression,
        ),
        model=model,
        model_version=model_version,
        loads=() if search else read_loads(concurrency, rate, ramp, replay, poisson=poisson, seed=seed),
        duration_seconds=duration or (None if (requests and not ramp) or replay else 10.0),
        requests=requests,
        warmup_seconds=warmup,
        repeat=repeat or (load_find.REPEATS if search else 1),
        timeout_seconds=timeout,
        batch_size=batch_size,
        processes=processes,
        connections=connections,
        shapes=tuple(map(read_shape, shape or [])),
        seed=seed,
        data=data,
        expected=expected,
        repository=repository,
        validate=validate,
        string_length=string_length,
        sequence_length=sequence_length,
        streaming=streaming,
        shared_memory=shared_memory.value,
        metrics_url=metrics_url,
    )
    if ending.baseline:
        load_report.check_baseline(ending.baseline, options)
    with progress() as show, load_live.listen(show, model, metrics_port) as on_snapshot:
        report = load_find.run(options, search, ending.gates, poisson=poisson, on_snapshot=on_snapshot, show=show)
    ending.conclude(
        report, failure=describe_failure(report), afterwards=lambda judged: load_live.push(judged, pushgateway)
    )


def read_loads(
    concurrency: str | None, rate: str | None, ramp: str | None, replay: Path | None, *, poisson: bool, seed: int
) -> tuple[LoadShape, ...]:
    """The points to measure; one closed-loop user where nothing was asked for."""
    from serve_deploy.loadtest import schedule

    if sum(option is not None for option in (concurrency, rate, ramp, replay)) > 1:
        raise UsageError("--concurrency, --rate, --ramp and --replay exclude each other")
    if poisson and not rate:
        raise UsageError("--poisson needs a --rate")
    if replay:
        from serve_deploy.loadtest.recorded_arrivals import read_arrivals

        return (read_arrivals(replay),)
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


def describe_failure(report: LoadTestReport) -> ServeError | None:
    """What cut a run short, or that nothing succeeded in it; None where all went well."""
    reason = report.interrupted_reason or ""
    if report.ended_by == "interrupt":
        return Interrupted(f"{reason}; the report is partial")
    if report.ended_by == "server":
        return EndpointError(f"{reason}; the report goes up to there")
    if report.points and not any(point.succeeded for point in report.points):
        errors = report.points[0].errors
        return EndpointError("no request succeeded" + (f": {errors[0].example}" if errors else ""))
    return None
