"""What a report says of its baseline in words: one row a figure, and the verdict."""

from __future__ import annotations

from collections.abc import Callable

from serve_deploy.reports.figures import (
    METRIC_NAMES,
    format_change,
    format_load,
    format_moment,
    format_number,
    format_share,
    format_time_us,
)
from serve_deploy.reports.report import BaselineComparison, MetricChange

CHANGE_COLUMNS = ("figure", "load", "before", "now", "change", "verdict")


def change_rows(comparison: BaselineComparison) -> list[tuple[str, ...]]:
    """One row a figure that was compared with the baseline, in the order of CHANGE_COLUMNS."""
    return [_change_row(change) for change in comparison.changes]


def _change_row(change: MetricChange) -> tuple[str, ...]:
    write = _WRITE_METRIC[change.metric]
    span = ""
    if change.change_low is not None and change.change_high is not None:
        span = f" ({format_change(change.change_low)} to {format_change(change.change_high)})"
    return (
        METRIC_NAMES[change.metric],
        format_load(change.load),
        *("–" if value is None else write(value) for value in (change.before, change.now)),
        "–" if change.change is None else f"{format_change(change.change)}{span}",
        change.verdict.replace("_", " "),
    )


_WRITE_METRIC: dict[str, Callable[[float], str]] = {
    "response_p50": format_time_us,
    "response_p99": format_time_us,
    "throughput": lambda value: f"{format_number(value, 4)}/s",
    "error_rate": format_share,
    "ttft_p50": format_time_us,
    "ttft_p99": format_time_us,
    "itl_p99": format_time_us,
    "output_tokens": lambda value: f"{format_number(value, 4)}/s",
    "goodput": format_share,
}


def describe_baseline(comparison: BaselineComparison) -> str:
    """What the run was compared with, and how sure the verdicts are."""
    words = describe_verdict(comparison)
    return (
        f"{words[0].upper()}{words[1:]} {comparison.baseline} of {format_moment(comparison.baseline_started_at)} "
        f"(at {comparison.confidence * 100:g} % confidence over all figures together; "
        f"changes under {comparison.minimum_effect * 100:g} % are ignored)."
    )


def describe_verdict(comparison: BaselineComparison) -> str:
    """The verdict in words that the baseline's name follows."""
    verdicts = [change.verdict for change in comparison.changes]
    if comparison.regressed:
        return "slower than"
    if comparison.compared == "not":
        return "not compared with"
    if comparison.compared == "in part":
        return f"{verdicts.count('not_compared')} of {len(verdicts)} figures not compared with"
    return "not shown to be slower than" if "undecided" in verdicts else "not slower than"
