"""What is seen of a load test while it runs: a line on the terminal, metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serve_deploy.loadtest.live import Listener, LiveSnapshot
    from serve_deploy.progress import Progress
    from serve_deploy.reports.report import LoadTestReport, ReportSet

MetricsPort = Annotated[
    str | None,
    typer.Option(
        "--metrics-port", metavar="[HOST:]PORT", help="Serve live Prometheus metrics meanwhile.", show_default=False
    ),
]
Pushgateway = Annotated[
    str | None,
    typer.Option("--pushgateway", metavar="URL", help="Push the results there at the end.", show_default=False),
]


@contextmanager
def listen(progress: Progress, model: str, metrics_address: str | None) -> Iterator[Listener]:
    """Hear the engine's snapshots: for the terminal's line and, where asked for, for a metrics port."""
    with ExitStack() as stack:
        listeners: list[Listener] = [lambda snapshot: progress(describe_snapshot(snapshot))]
        if metrics_address is not None:
            from serve_deploy.loadtest.live_metrics import LiveMetrics, serve_metrics

            metrics = LiveMetrics(model)
            stack.enter_context(serve_metrics(metrics, metrics_address))
            listeners.append(metrics.listen)

        def tell_all(snapshot: LiveSnapshot) -> None:
            for listener in listeners:
                listener(snapshot)

        yield tell_all


def describe_snapshot(snapshot: LiveSnapshot) -> str:
    """One line: where the run is, rate, p99, errors, in flight."""
    from serve_deploy.reports.figures import format_count, format_load, format_number, format_time_us

    planned = snapshot.planned_seconds
    span = (
        f"{snapshot.elapsed_seconds:.0f} s" if planned is None else f"{snapshot.elapsed_seconds:.0f} of {planned:g} s"
    )
    repeat = f", repeat {snapshot.repeat + 1}" if snapshot.repeat else ""
    errors = snapshot.failed + snapshot.timed_out
    return (
        f"{snapshot.phase} at {format_load(snapshot.load)}{repeat}, {span}: "
        f"{format_number(snapshot.request_rate)}/s, p99 {format_time_us(snapshot.response_p99_us)}, "
        f"{format_count(errors)} errors, {format_count(snapshot.in_flight)} in flight"
    )


def push(result: LoadTestReport | ReportSet, url: str | None) -> None:
    """Push a finished run, where a Pushgateway was named."""
    from serve_deploy.reports.report import LoadTestReport

    if url is not None and isinstance(result, LoadTestReport):
        from serve_deploy.loadtest.live_metrics import push_report

        push_report(result, url)
