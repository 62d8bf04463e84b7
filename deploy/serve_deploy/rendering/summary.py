"""What every rendering of a report shows, in words: one row a load, gates, errors, what to be careful about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from serve_deploy.rendering import token_words
from serve_deploy.rendering.baseline_words import describe_verdict
from serve_deploy.rendering.load_kinds import Kind, kinds_of
from serve_deploy.rendering.token_words import describe_protocol, list_token_warnings
from serve_deploy.reports.figures import (
    describe_data,
    format_count,
    format_load,
)
from serve_deploy.reports.intervals import measure_interval
from serve_deploy.reports.judging import list_failures
from serve_deploy.reports.point import Interval, Point
from serve_deploy.reports.pooling import group_by_load, pool_repeats
from serve_deploy.reports.report import LoadTestReport, NamedReport

GATE_COLUMNS = ("gate", "load", "", "measured")
ERROR_COLUMNS = ("error", "load", "requests", "example")


@dataclass(frozen=True)
class LoadSummary:
    """One load: its repeats, and all of them pooled into one."""

    repeats: tuple[Point, ...]
    pooled: Point

    def interval(self, read: Callable[[Point], float | None]) -> Interval | None:
        """A figure's 95 % interval over the repeats; None for a single one."""
        return measure_interval(self.repeats, read)


def summarise_loads(report: LoadTestReport) -> tuple[LoadSummary, ...]:
    """Pool the repeats of each load, in the order of measurement (a search: by load)."""
    groups = group_by_load(report.points)
    if report.kind == "find":
        groups = tuple(sorted(groups, key=lambda group: group[0].load.request_rate or group[0].load.concurrency or 0))
    return tuple(LoadSummary(group, pool_repeats(group)) for group in groups)


def load_columns(reports: Iterable[LoadTestReport]) -> tuple[str, ...]:
    """What stands in the rows of the loads of these reports."""
    return ("load", *(kind.label for kind in kinds_of(reports)), "")


def load_rows(report: LoadTestReport, kinds: Sequence[Kind] | None = None) -> list[tuple[str, ...]]:
    """One row a load, in the order of `load_columns`, with the 95 % interval over repeats of what matters most."""
    return [_load_row(summary, kinds or kinds_of([report])) for summary in summarise_loads(report)]


def joint_load_rows(reports: Sequence[NamedReport]) -> list[tuple[str, ...]]:
    """The rows of all reports, each begun by its report's name."""
    kinds = kinds_of(named.report for named in reports)
    return [(named.name, *row) for named in reports for row in load_rows(named.report, kinds)]


def _load_row(summary: LoadSummary, kinds: Sequence[Kind]) -> tuple[str, ...]:
    point = summary.pooled
    bound = "client-bound" if point.client_bound else ""
    return (format_load(point.load), *(_load_cell(summary, kind) for kind in kinds), bound)


def _load_cell(summary: LoadSummary, kind: Kind) -> str:
    value = kind.read(summary.pooled)
    if value is None:
        return "–"
    interval = summary.interval(kind.read) if kind.margin else None
    return with_margin(kind.write(value), interval, kind.margin or kind.write)


def write_figure(summary: LoadSummary, kind: Kind) -> str:
    """A figure with its interval and name, such as '196.5 ±5.07 inferences/s'; "" where there is none."""
    cell = _load_cell(summary, kind)
    return "" if cell == "–" else f"{cell} {kind.label}"


def describe_margin(interval: Interval, write: Callable[[float], str]) -> str:
    """How sure a figure is: half its interval as '±3 ms', or '0 to 9 ms' where that would reach below 0."""
    return f"±{write(interval.high - interval.mean)}" if interval.low > 0 else f"0 to {write(interval.high)}"


def with_margin(text: str, interval: Interval | None, write: Callable[[float], str]) -> str:
    """A figure as it is written, followed by how sure it is."""
    if interval is None or not interval.high:
        return text
    margin = describe_margin(interval, write)
    return f"{text} {margin}" if interval.low > 0 else f"{text} ({margin})"


def gate_rows(report: LoadTestReport) -> list[tuple[str, ...]]:
    """One row a gate, in the order of GATE_COLUMNS."""
    return [
        (
            gate.expression,
            format_load(gate.load) if gate.load else "whole run",
            "passed" if gate.passed else "missed",
            gate.explanation,
        )
        for gate in report.gates
    ]


def error_rows(report: LoadTestReport) -> list[tuple[str, ...]]:
    """One row a kind of error and load, in the order of ERROR_COLUMNS."""
    return [
        (error.kind, format_load(summary.pooled.load), format_count(error.count), " ".join(error.example.split()))
        for summary in summarise_loads(report)
        for error in summary.pooled.errors
    ]


def list_warnings(report: LoadTestReport) -> list[str]:
    """What a reader must know before believing the figures: partial, client-bound, unfinished requests, notes."""
    warnings = []
    if not report.complete:
        warnings.append(f"This report is partial: {report.interrupted_reason or 'the run was interrupted'}.")
    points = [load.pooled for load in summarise_loads(report)]
    bound = [point for point in points if point.client_bound]
    if bound:
        loads = ", ".join(format_load(point.load) for point in bound)
        # Of repeats that differ only in their figures, the last.
        kinds = {reason.partition(" (")[0]: reason for reason in bound[-1].client_bound_reasons}
        reasons = "; ".join(kinds.values()) or "it could not send faster"
        warnings.append(f"At {loads} the generator was the limit, not the server ({reasons}).")
    for point in points:
        load = format_load(point.load)
        if point.in_flight_at_end:
            count = _count_requests(point.in_flight_at_end)
            warnings.append(f"At {load}, {count} still unanswered at the end; no latency includes them.")
        if point.never_sent:
            warnings.append(
                f"At {load} {_count_requests(point.never_sent)} due and never sent: no connection was free in time."
                " They count as errors, and as response times of at least as long as they waited."
            )
    return [*warnings, *list_token_warnings(points), *report.notes]


def _count_requests(count: int) -> str:
    return "1 request was" if count == 1 else f"{format_count(count)} requests were"


def has_failed(report: LoadTestReport) -> bool:
    """Whether the run is partial, missed a gate, is slower than its baseline, or was not compared in full."""
    return bool(list_failures(report))


def describe_outcome(report: LoadTestReport) -> str:
    """The run in a few words: what held and what did not."""
    missed = sum(not gate.passed for gate in report.gates)
    words = []
    if not report.complete:
        words.append("partial")
    if report.gates:
        total = plural(len(report.gates), "gate")
        words.append(f"{missed} of {total} missed" if missed else f"{total} passed")
    if report.baseline is not None:
        words.append(f"{describe_verdict(report.baseline)} the baseline")
    return ", ".join(words) or "complete"


def describe_target(report: LoadTestReport) -> str:
    """Which model was measured where."""
    target, streams = report.target, describe_protocol(report.points)
    return "".join(
        (
            target.model,
            f" version {target.model_version}" if target.model_version else "",
            f" ({target.platform})" if target.platform else "",
            f" at {target.url} over {target.protocol}",
            f" ({streams})" if streams else "",
            f", Triton {target.server_version}" if target.server_version else "",
        )
    )


def describe_streams(report: LoadTestReport) -> list[str]:
    """How the tokens of streams were counted, and the longest gap of all; nothing for other load tests."""
    return token_words.describe_streams([load.repeats for load in summarise_loads(report)])


def describe_sent(report: LoadTestReport) -> str:
    """Which data was sent; "" where the report of an older serve does not say."""
    return f"sent {describe_data(report.data)}" if report.data else ""


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
