"""A report as plain text, for a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve_deploy.rendering import summary
from serve_deploy.rendering.gauges import describe_gauges
from serve_deploy.reports.figures import format_count, format_load, format_number, format_share, format_time_us
from serve_deploy.reports.point import LatencySummary, ModelStatistics, Point
from serve_deploy.reports.report import LoadTestReport, NamedReport

_GAP = "  "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_WIDTH = 100
# The other formats keep them. Requests/s are inferences/s by the batch size, which the load says.
_DISPENSABLE = ("requests/s", "service p99", "p90", "queue", "p99.9")
_LATENCY_COLUMNS = ("", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def render_text(reports: Sequence[NamedReport]) -> str:
    """Each report in full; several under a table of all their loads. What a server said cannot move the cursor."""
    return _CONTROL.sub("\ufffd", _render_all(reports))


def _render_all(reports: Sequence[NamedReport]) -> str:
    if len(reports) == 1:
        return _render_one(reports[0].report)
    table = _fit(("report", *summary.LOAD_COLUMNS), summary.joint_load_rows(reports))
    blocks = [f"{named.name}\n{'=' * len(named.name)}\n{_render_one(named.report)}" for named in reports]
    return "\n\n".join([table, *blocks])


def _render_one(report: LoadTestReport) -> str:
    loads = summary.summarise_loads(report)
    sections = [
        f"{summary.describe_target(report)}",
        _single(loads[0]) if len(loads) == 1 else _fit(summary.LOAD_COLUMNS, summary.load_rows(report)),
        _align(summary.ERROR_COLUMNS, summary.error_rows(report)),
        report.search.explanation if report.search else "",
        _align(summary.GATE_COLUMNS, summary.gate_rows(report)),
        _baseline(report),
        "\n".join(f"warning: {warning}" for warning in summary.list_warnings(report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _single(load: summary.LoadSummary) -> str:
    point = load.pooled
    throughput = load.interval(lambda repeat: repeat.throughput)
    margin = f" ±{format_number((throughput.high - throughput.low) / 2)}" if throughput else ""
    repeats = f", {len(load.repeats)} repeats" if len(load.repeats) > 1 else ""
    facts = [
        ("load", f"{format_load(point.load)}, {format_number(point.duration_seconds)} s{repeats}"),
        ("requests", _count_requests(point)),
        ("throughput", f"{format_number(point.throughput, 4)}{margin} inferences/s"),
        *((f"server, {account.model}", _describe_account(account)) for account in point.server),
        *_gauges(point),
        ("generator", _describe_generator(point)),
    ]
    width = max(len(name) for name, _ in facts)
    latencies = [_latency_row("response time", point.response), _latency_row("service time", point.service)]
    if len(load.repeats) > 1:
        latencies = [latencies[0], _margin_row(load, "response"), latencies[1], _margin_row(load, "service")]
    return "\n".join(f"{name:<{width}}{_GAP}{fact}" for name, fact in facts) + f"\n\n{_latencies(latencies)}"


def _count_requests(point: Point) -> str:
    counts = (
        (point.succeeded, "succeeded"), (point.failed, "failed"), (point.timed_out, "timed out"),
        (point.in_flight_at_end, "in flight at the end"), (point.never_sent, "never sent"),
    )  # fmt: skip
    parts = " + ".join(f"{format_count(count)} {name}" for count, name in counts if count or name == "succeeded")
    due = (
        f"{format_count(point.sent + point.never_sent)} due" if point.never_sent else f"{format_count(point.sent)} sent"
    )
    return f"{due} = {parts}"


def _describe_account(account: ModelStatistics) -> str:
    times = (
        ("queue", account.queue_us), ("input", account.compute_input_us), ("infer", account.compute_infer_us),
        ("output", account.compute_output_us),
    )  # fmt: skip
    parts = ", ".join(f"{name} {format_time_us(time_us)}" for name, time_us in times)
    return f"{parts}; average batch {format_number(account.average_batch_size)}"


def _gauges(point: Point) -> list[tuple[str, str]]:
    gauges = describe_gauges(point)
    return [("server machine", ", ".join(gauge.text for gauge in gauges))] if gauges else []


def _describe_generator(point: Point) -> str:
    client = point.client
    return (
        f"CPU {format_share(client.cpu_fraction)}, {format_time_us(client.cpu_us_per_request)} a request; "
        f"slip p99 {format_time_us(client.slip_p99_us)}, max {format_time_us(client.slip_max_us)}"
    )


def _latency_row(name: str, latency: LatencySummary) -> tuple[str, ...]:
    times = (
        latency.mean_us, latency.p50_us, latency.p90_us, latency.p95_us, latency.p99_us, latency.p999_us,
        latency.max_us,
    )  # fmt: skip
    return (name, *(format_time_us(time_us) if latency.count else "–" for time_us in times))


def _margin_row(load: summary.LoadSummary, clock: str) -> tuple[str, ...]:
    """Half the 95 % interval over the repeats, below each figure."""
    intervals = [
        load.interval(lambda repeat, figure=figure: float(getattr(getattr(repeat, clock), figure)))  # type: ignore[misc]
        for figure in ("mean_us", "p50_us", "p90_us", "p95_us", "p99_us", "p999_us", "max_us")
    ]
    return ("  ±", *(format_time_us((each.high - each.low) / 2) if each else "–" for each in intervals))


def _latencies(rows: Sequence[tuple[str, ...]]) -> str:
    return _align(_LATENCY_COLUMNS, rows, keep=True)


def _baseline(report: LoadTestReport) -> str:
    if report.baseline is None:
        return ""
    table = _align(summary.CHANGE_COLUMNS, summary.change_rows(report.baseline))
    return "\n".join([summary.describe_baseline(report.baseline), table, *report.baseline.notes])


def _fit(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of loads, without the columns that are missed least where it is wider than a terminal."""
    table = _align(columns, rows)
    dropped: list[str] = []
    for name in _DISPENSABLE:
        if all(len(line) <= _WIDTH for line in table.splitlines()):
            return table
        dropped.append(name)
        kept = [index for index, column in enumerate(columns) if column not in dropped]
        table = _align([columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    return table


def _align(columns: Sequence[str], rows: Sequence[Sequence[str]], *, keep: bool = False) -> str:
    if not rows:
        return ""
    used = range(len(columns)) if keep else summary.columns_in_use(columns, rows)
    lines = [[columns[index] for index in used], *([row[index] for index in used] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join(
        _GAP.join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
