"""A report as plain text, for a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve_deploy.rendering import summary
from serve_deploy.rendering.gauges import describe_gauges
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_count, format_load, format_number, format_share, format_time_us
from serve_deploy.reports.point import ModelStatistics, Point
from serve_deploy.reports.readers import latency_reader
from serve_deploy.reports.report import LoadTestReport, NamedReport
from serve_deploy.text_table import align, columns_in_use, fit, hang, is_within

_GAP = "  "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_WIDTH = 100
# The other formats keep them. Requests/s are inferences/s by the batch size, which the load says.
_DISPENSABLE = ("requests/s", "service p99", "p90", "queue", "p99.9")
_LATENCY_FIGURES = {
    "mean": "mean_us", "p50": "p50_us", "p90": "p90_us", "p95": "p95_us", "p99": "p99_us", "p99.9": "p999_us",
    "max": "max_us",
}  # fmt: skip


def render_text(reports: Sequence[NamedReport], width: int | None = None) -> str:
    """Each report in full; several under a table of all their loads. What a server said cannot move the cursor.

    In a terminal of `width` columns tables are narrowed or become blocks, and sentences are wrapped.
    """
    return _CONTROL.sub("\ufffd", _render_all(reports, width))


def _render_all(reports: Sequence[NamedReport], width: int | None) -> str:
    if len(reports) == 1:
        return _render_one(reports[0].report, width)
    table = _fit_loads(("report", *summary.LOAD_COLUMNS), summary.joint_load_rows(reports), width)
    blocks = [f"{named.name}\n{'=' * len(named.name)}\n{_render_one(named.report, width)}" for named in reports]
    return "\n\n".join([table, *blocks])


def _render_one(report: LoadTestReport, width: int | None) -> str:
    loads = summary.summarise_loads(report)
    sections = [
        "\n".join(
            _wrap(line, width) for line in (summary.describe_target(report), summary.describe_sent(report)) if line
        ),
        _single(loads[0], width)
        if len(loads) == 1
        else _fit_loads(summary.LOAD_COLUMNS, summary.load_rows(report), width),
        _fit(summary.ERROR_COLUMNS, summary.error_rows(report), width),
        _wrap(report.search.explanation if report.search else "", width),
        _fit(summary.GATE_COLUMNS, summary.gate_rows(report), width),
        _baseline(report, width),
        "\n".join(_wrap(warning, width, "warning: ") for warning in summary.list_warnings(report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _wrap(text: str, width: int | None, lead: str = "") -> str:
    return hang(lead, text, width) if width else f"{lead}{text}"


def _single(load: summary.LoadSummary, width: int | None) -> str:
    point = load.pooled
    throughput = load.interval(lambda repeat: repeat.throughput)
    written = summary.with_margin(format_number(point.throughput, 4), throughput, format_number)
    repeats = f", {len(load.repeats)} repeats" if len(load.repeats) > 1 else ""
    facts = [
        ("load", f"{format_load(point.load)}, {format_number(point.duration_seconds)} s{repeats}"),
        ("requests", _count_requests(point)),
        ("throughput", f"{written} inferences/s"),
        *((f"server, {account.model}", _describe_account(account)) for account in point.server),
        *_gauges(point),
        ("generator", _describe_generator(point)),
    ]
    room = max(len(name) for name, _ in facts)
    latencies = [_latency_row("response time", point.response), _latency_row("service time", point.service)]
    if len(load.repeats) > 1:
        latencies = [latencies[0], _margin_row(load, "response"), latencies[1], _margin_row(load, "service")]
    lines = [_wrap(fact, width, f"{name:<{room}}{_GAP}") for name, fact in facts]
    return "\n".join(lines) + f"\n\n{_latencies(latencies, width)}"


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
    times = [getattr(latency, figure) for figure in _LATENCY_FIGURES.values()]
    return (name, *(format_time_us(time_us) if latency.count else "–" for time_us in times))


def _margin_row(load: summary.LoadSummary, clock: str) -> tuple[str, ...]:
    """How sure each figure is over the repeats, below it."""
    intervals = [load.interval(latency_reader(clock, figure)) for figure in _LATENCY_FIGURES.values()]
    return ("  interval", *(summary.describe_margin(each, format_time_us) if each else "–" for each in intervals))


def _latencies(rows: Sequence[tuple[str, ...]], width: int | None) -> str:
    columns = ("", *_LATENCY_FIGURES)
    table = align(columns, rows)
    if width is None or is_within(table, width):
        return table
    names, *figures = zip(columns, *rows, strict=True)
    return fit(names, figures, width)


def _baseline(report: LoadTestReport, width: int | None) -> str:
    if report.baseline is None:
        return ""
    table = _fit(summary.CHANGE_COLUMNS, summary.change_rows(report.baseline), width)
    sentences = [_wrap(text, width) for text in (summary.describe_baseline(report.baseline), *report.baseline.notes)]
    return "\n".join([sentences[0], table, *sentences[1:]])


def _fit_loads(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table of loads, without the columns that are missed least where it is too wide."""
    room = min(_WIDTH, width or _WIDTH)
    dropped: list[str] = []
    for name in ("", *_DISPENSABLE):
        dropped.append(name)
        used = [index for index in columns_in_use(columns, rows) if columns[index] not in dropped or not columns[index]]
        kept = [columns[index] for index in used], [[row[index] for index in used] for row in rows]
        if rows and is_within(align(*kept), room):
            break
    return fit(*kept, width) if rows else ""


def _fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table without its empty columns."""
    used = columns_in_use(columns, rows)
    return (
        fit([columns[index] for index in used], [[row[index] for index in used] for row in rows], width) if rows else ""
    )
