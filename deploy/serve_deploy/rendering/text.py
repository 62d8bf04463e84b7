"""A report as plain text, for a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve_deploy.rendering import baseline_words, summary
from serve_deploy.rendering.gauges import describe_gauges
from serve_deploy.rendering.load_kinds import INFERENCES, INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS
from serve_deploy.rendering.token_words import describe_gap, describe_goodput, describe_tokens
from serve_deploy.reports.figures import format_count, format_load, format_number, format_share, format_time_us
from serve_deploy.reports.judging import list_failures
from serve_deploy.reports.point import ModelStatistics, Point
from serve_deploy.reports.readers import ITL, TPOT, TTFT, latency_reader
from serve_deploy.reports.report import LoadTestReport, NamedReport
from serve_deploy.text_table import align, drop_columns, fit, hang, is_within

_GAP = "  "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_WIDTH = 100
# The other formats keep them. Requests/s are inferences/s by the batch size, which the load says.
_DISPENSABLE = (
    "requests/s", "service p99", "p90", "queue", "p99.9", "TPOT p50", "ITL p50", "TTFT p50", "e2e p99",
)  # fmt: skip
_CLOCKS = (("response time", "response"), ("service time", "service"))
_TOKEN_CLOCKS = (
    ("TTFT", TTFT), ("ITL", ITL), ("TPOT", TPOT), ("e2e", "response"), ("service time", "service"),
)  # fmt: skip
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
    table = _fit_loads(
        ("report", *summary.load_columns(named.report for named in reports)), summary.joint_load_rows(reports), width
    )
    blocks = [
        f"{named.name}\n{'=' * len(named.name)}\n{_render_one(named.report, width)}" for named in _in_full(reports)
    ]
    return "\n\n".join([table, *blocks])


def _in_full(reports: Sequence[NamedReport]) -> Sequence[NamedReport]:
    """The reports to show in full: of models measured at once, only all together and those where something is wrong."""
    *models, last = reports
    if not last.report.merged_from or last.report.merged_from != tuple(named.name for named in models):
        return reports
    return [named for named in models if summary.error_rows(named.report) or list_failures(named.report)] + [last]


def _render_one(report: LoadTestReport, width: int | None) -> str:
    loads = summary.summarise_loads(report)
    sections = [
        "\n".join(
            hang("", line, width) for line in (summary.describe_target(report), summary.describe_sent(report)) if line
        ),
        _single(loads[0], width)
        if len(loads) == 1
        else _fit_loads(summary.load_columns([report]), summary.load_rows(report), width),
        "" if len(loads) == 1 else "\n".join(hang("", line, width) for line in summary.describe_streams(report)),
        _fit(summary.ERROR_COLUMNS, summary.error_rows(report), width),
        hang("", report.search.explanation if report.search else "", width),
        _fit(summary.GATE_COLUMNS, summary.gate_rows(report), width),
        _baseline(report, width),
        "\n".join(hang("warning: ", warning, width) for warning in summary.list_warnings(report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _single(load: summary.LoadSummary, width: int | None) -> str:
    point = load.pooled
    repeats = f", {len(load.repeats)} repeats" if len(load.repeats) > 1 else ""
    facts = [
        ("load", f"{format_load(point.load)}, {format_number(point.duration_seconds)} s{repeats}"),
        ("requests", _count_requests(point)),
        *(_describe_tokens(load) if point.generation else _describe_inferences(load)),
        *_gauges(point),
        ("generator", _describe_generator(point)),
    ]
    room = max(len(name) for name, _ in facts)
    dispensable = ("p95", "p90") if point.generation else ()
    lines = [hang(f"{name:<{room}}{_GAP}", fact, width) for name, fact in facts if fact]
    return "\n".join(lines) + f"\n\n{_latencies(_latency_rows(load), width, dispensable)}"


def _describe_inferences(load: summary.LoadSummary) -> list[tuple[str, str]]:
    accounts = [(f"server, {account.model}", _describe_account(account)) for account in load.pooled.server]
    return [("throughput", summary.write_figure(load, INFERENCES)), *accounts]


def _describe_tokens(load: summary.LoadSummary) -> list[tuple[str, str]]:
    """What is measured by token; the server's own account ends when a request is handed over, so it is left out."""
    point = load.pooled
    rates = [summary.write_figure(load, kind) for kind in (REQUESTS, OUTPUT_TOKENS, INPUT_TOKENS)]
    return [
        ("throughput", ", ".join(filter(None, rates))),
        ("tokens", describe_tokens(point.generation) if point.generation else ""),
        ("goodput", describe_goodput(point)),
        ("longest gap", describe_gap(load.repeats)),
    ]


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


def _latency_rows(load: summary.LoadSummary) -> list[tuple[str, ...]]:
    """A row for each clock, and below it how sure each figure is over the repeats."""
    rows = []
    for name, clock in _TOKEN_CLOCKS if load.pooled.generation else _CLOCKS:
        readers = [latency_reader(clock, figure) for figure in _LATENCY_FIGURES.values()]
        times = [read(load.pooled) for read in readers]
        rows.append((name, *("–" if time_us is None else format_time_us(time_us) for time_us in times)))
        if len(load.repeats) > 1:
            intervals = [load.interval(read) for read in readers]
            margins = (summary.describe_margin(each, format_time_us) if each else "–" for each in intervals)
            rows.append(("  interval", *margins))
    return rows


def _latencies(rows: Sequence[tuple[str, ...]], width: int | None, dispensable: Sequence[str]) -> str:
    """A table without its dispensable columns where it is too wide; a block a column where it still is."""
    columns = ("", *_LATENCY_FIGURES)
    for count in range(len(dispensable) + 1):
        used = [index for index, name in enumerate(columns) if name not in dispensable[:count]]
        table = align([columns[index] for index in used], [[row[index] for index in used] for row in rows])
        if width is None or is_within(table, width):
            return table
    names, *figures = zip(columns, *rows, strict=True)
    return fit(names, figures, width)


def _baseline(report: LoadTestReport, width: int | None) -> str:
    if report.baseline is None:
        return ""
    table = _fit(baseline_words.CHANGE_COLUMNS, baseline_words.change_rows(report.baseline), width)
    sentences = [
        hang("", text, width) for text in (baseline_words.describe_baseline(report.baseline), *report.baseline.notes)
    ]
    return "\n".join([sentences[0], table, *sentences[1:]])


def _fit_loads(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table of loads, without the columns that are missed least where it is too wide."""
    room = min(_WIDTH, width or _WIDTH)
    for count in range(len(_DISPENSABLE) + 1):
        kept = drop_columns(columns, rows, _DISPENSABLE[:count])
        if rows and is_within(align(*kept), room):
            break
    return fit(*kept, width) if rows else ""


def _fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table without its empty columns."""
    return fit(*drop_columns(columns, rows), width) if rows else ""
