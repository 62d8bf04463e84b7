"""`serve loadtest`: measure a Triton endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import load_report
from serve_cli.options import ENDPOINT_FLAGS, Json
from serve_cli.output import progress
from serve_cli.taking import takes_options
from serve_deploy.errors import EndpointError, Interrupted, ServeError
from serve_deploy.loadtest.options import MixOptions

if TYPE_CHECKING:
    from serve_deploy.loadtest.live import LiveSnapshot
    from serve_deploy.reports.report import LoadTestReport, ReportSet

Pushgateway = Annotated[
    str | None,
    typer.Option(
        "--pushgateway",
        metavar="URL",
        help="Push the results to this Pushgateway at the end.",
        show_default=False,
        rich_help_panel="Report",
    ),
]


@takes_options(
    arguments=["url"],
    flags={
        **ENDPOINT_FLAGS,
        "models": ("--model", "-m"),
        "weights": "--weight",
        "concurrency": ("--concurrency", "-c"),
        "rate": ("--rate", "-r"),
        "requests": ("--requests", "-n"),
        "batch_size": ("--batch-size", "-b"),
        "shapes": "--shape",
        "parameters": "--parameter",
        "objectives": "--objective",
    },
    needs="models",
)
def loadtest(
    options: MixOptions,
    outputs: load_report.Output = None,
    pushgateway: Pushgateway = None,
    json: Json = False,
) -> None:
    """Measure a Triton endpoint honestly: from the intended send, with nothing left out.

    \b
    serve loadtest http://localhost:8000 -m digits -c 8
    serve loadtest grpc://localhost:8001 -m digits --rate 100..1000 --poisson
    serve loadtest http://localhost:8000 -m digits -r 200 --slo 'p99<50ms' -o run.html
    serve loadtest http://localhost:8000 -m digits --find rate --slo 'p99<50ms'
    serve loadtest http://localhost:8000 -m llm --generate auto --slo 'ttft_p99<500ms'
    serve loadtest http://localhost:8000 -m resnet -m bert --weight resnet=3 --rate 200 --poisson
    """
    from serve_deploy.loadtest import run_loadtest, run_mixed_loadtest, split_load

    files = load_report.check_outputs(outputs)
    parts = split_load(options)
    with progress(tells_waits=True) as show:

        def tell(snapshot: LiveSnapshot) -> None:
            show(describe_snapshot(snapshot))

        result: LoadTestReport | ReportSet
        if len(parts) == 1:
            result = run_loadtest(parts[0], on_snapshot=tell, progress=show)
            reports = [result]
        else:
            result = run_mixed_loadtest(parts, on_snapshot=tell, progress=show)
            reports = [named.report for named in result.reports]
    load_report.conclude(
        result,
        files,
        "json" if json else "table",
        failure=next(filter(None, map(describe_failure, reports)), None),
        afterwards=lambda: push(reports, pushgateway),
    )


def describe_snapshot(snapshot: LiveSnapshot) -> str:
    """One line: where the run is, rate, p99, tokens, errors, in flight."""
    from serve_deploy.reports.figures import format_count, format_load, format_number

    planned = "" if snapshot.planned_seconds is None else f" of {snapshot.planned_seconds:g}"
    repeat = f", repeat {snapshot.repeat + 1}" if snapshot.repeat else ""
    errors = snapshot.failed + snapshot.timed_out + snapshot.never_sent
    return (
        f"{snapshot.phase} at {format_load(snapshot.load)}{repeat}, {snapshot.elapsed_seconds:.0f}{planned} s: "
        f"{format_number(snapshot.request_rate)}/s, {_describe_latency(snapshot)}, "
        f"{format_count(errors)} errors, {format_count(snapshot.in_flight)} in flight"
    )


def _describe_latency(snapshot: LiveSnapshot) -> str:
    from serve_deploy.reports.figures import format_number, format_time_us

    if snapshot.output_tokens_per_second is None:
        return f"p99 {format_time_us(snapshot.response_p99_us)}"
    first = snapshot.first_token_p50_us
    tokens = f"{format_number(snapshot.output_tokens_per_second)} tokens/s"
    return tokens if first is None else f"{tokens}, TTFT p50 {format_time_us(first)}"


def push(reports: Sequence[LoadTestReport], url: str | None) -> None:
    """Push each report of a finished run, if a Pushgateway was named."""
    if url is not None:
        from serve_deploy.loadtest.live_metrics import push_report

        for report in reports:
            push_report(report, url)


def describe_failure(report: LoadTestReport) -> ServeError | None:
    """What cut a run short, or that nothing succeeded in it; None where all went well."""
    reason = report.interrupted_reason or ""
    if report.ended_by == "interrupt":
        return Interrupted(f"{reason}; the report is partial")
    if report.ended_by == "server":
        return EndpointError(f"{reason}; the report is partial")
    if report.points and not any(point.succeeded for point in report.points):
        errors = report.points[0].errors
        is_random = report.data is not None and report.data.origin == "random"
        return EndpointError(
            "no request succeeded" + (f": {errors[0].example}" if errors else ""),
            hint="random data was sent; `repository` sends the model's own samples, `data` yours"
            if is_random
            else None,
        )
    return None
