"""Is a run slower than a saved one? Decided by Student's t over repeats, and by nothing that was not measured.

A figure of one run varies from run to run by more than its own samples tell, so only repeats show how far a change
can be chance. The repeats' logarithms are compared. All figures of a comparison share the confidence (Bonferroni): it
holds for the comparison as a whole.

With a single run on each side nothing shows the variation between runs. The histogram's own sampling error then
gives the interval, and a verdict is spoken only beyond a further guard of 25 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.reports import bootstrap
from serve_deploy.reports.figures import (
    METRIC_NAMES,
    describe_data,
    format_change,
    format_list,
    format_load,
    format_number,
)
from serve_deploy.reports.gates import read_error_rate
from serve_deploy.reports.intervals import Difference, estimate_difference
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.pooling import group_by_load, pool_repeats
from serve_deploy.reports.report import BaselineComparison, LoadTestReport, MetricChange

Metric = Literal["response_p50", "response_p99", "throughput", "error_rate"]
Verdict = Literal["worse", "better", "same", "undecided", "not_compared"]
Pair = tuple[tuple[Point, ...], tuple[Point, ...]]

SINGLE_RUN_GUARD = 0.25
LEAST_ERROR_RISE = 0.001
_METRICS: dict[Metric, Callable[[Point], float]] = {
    "response_p50": lambda point: point.response.p50_us,
    "response_p99": lambda point: point.response.p99_us,
    "throughput": lambda point: point.throughput,
}
_PERCENTILES: dict[Metric, float] = {"response_p50": 0.5, "response_p99": 0.99}


@dataclass(frozen=True)
class BaselineOptions:
    """`confidence` holds for all figures together; relative changes below `minimum_effect` are ignored."""

    confidence: float = 0.95
    minimum_effect: float = 0.05
    seed: int = 0


def compare_with_baseline(
    now: LoadTestReport, before: LoadTestReport, name: str, options: BaselineOptions | None = None
) -> BaselineComparison:
    """Compare every load of this run; what cannot be compared has that verdict and the reason.

    UsageError where the reports have no model in common, or a complete run has no load in common with the baseline.
    """
    options = options or BaselineOptions()
    notes = _require_same_target(now, before, name)
    if not before.complete:
        notes.append(f"The baseline is partial: {before.interrupted_reason or 'its run was interrupted'}.")
    pairs, missing = _match_loads(now, before, name)
    changes = _compare_loads(pairs, options)
    for group in missing:
        sides = ((), group)
        metrics: tuple[Metric, ...] = (*_METRICS, "error_rate")
        changes += [_not_compared(sides, metric, "the baseline did not measure this load") for metric in metrics]
    if not changes:
        notes.append("Not compared: the run ended before any load was measured.")
    if any(change.method == "single_run" for change in changes):
        notes.append(
            "Single runs do not show how much runs differ by chance, so only changes above "
            f"{SINGLE_RUN_GUARD:.0%} count. Measure each load 5 times to decide."
        )
    notes += [f"Not compared: {line}." for line in list_uncompared(changes)]
    return BaselineComparison(
        baseline=name,
        baseline_started_at=before.points[0].started_at,
        confidence=options.confidence,
        minimum_effect=options.minimum_effect,
        regressed=any(change.verdict == "worse" for change in changes),
        changes=tuple(changes),
        notes=tuple(notes),
    )


def list_uncompared(changes: Iterable[MetricChange]) -> list[str]:
    """What could not be compared, a line a load and reason: 'p50 and p99 at 200/s: …'."""
    reasons: dict[tuple[Load, str], list[str]] = {}
    for change in changes:
        if change.verdict == "not_compared":
            reasons.setdefault((change.load, change.explanation), []).append(METRIC_NAMES[change.metric])
    return [
        f"{format_list(metrics)} at {format_load(load)}: {explanation}"
        for (load, explanation), metrics in reasons.items()
    ]


def _require_same_target(now: LoadTestReport, before: LoadTestReport, name: str) -> list[str]:
    for field in ("model", "protocol"):
        found, expected = getattr(before.target, field), getattr(now.target, field)
        if found != expected:
            raise UsageError(
                f"the baseline {name} measured {field} '{found}', this run '{expected}': they cannot be compared",
                hint="measure the baseline again with the same model and protocol",
            )
    told = {"url": "address", "model_version": "model version", "server_version": "Triton version",
            "model_config_sha256": "model configuration"}  # fmt: skip
    notes = [
        f"The {word} differs from the baseline's ({getattr(before.target, field)} then)."
        for field, word in told.items()
        if getattr(now.target, field) != getattr(before.target, field)
    ]
    # The same data may lie elsewhere.
    if now.data and before.data and now.data != before.data.model_copy(update={"path": now.data.path}):
        notes.append(f"The data differs from the baseline's ({describe_data(before.data)} then).")
    return notes


def _match_loads(now: LoadTestReport, before: LoadTestReport, name: str) -> tuple[list[Pair], list[tuple[Point, ...]]]:
    measured = {group[0].load: group for group in group_by_load(before.points)}
    groups = group_by_load(now.points)
    pairs = [(measured[group[0].load], group) for group in groups if group[0].load in measured]
    if not measured or (not pairs and now.complete):
        raise UsageError(
            f"the baseline {name} was measured at {_list_loads(measured)}, this run at "
            f"{_list_loads(group[0].load for group in groups)}: they have no load in common",
            hint="compare runs of the same load",
        )
    return pairs, [group for group in groups if group[0].load not in measured]


def _list_loads(loads: Iterable[Load]) -> str:
    return ", ".join(format_load(load) for load in loads) or "no load"


def _compare_loads(pairs: Sequence[Pair], options: BaselineOptions) -> list[MetricChange]:
    random = np.random.default_rng(options.seed)
    each = 1 - (1 - options.confidence) / (max(1, len(pairs)) * (len(_METRICS) + 1))
    return [
        change
        for pair in pairs
        for change in (
            *(_compare_metric(pair, metric, each, options, random) for metric in _METRICS),
            _compare_errors(pair, each, random),
        )
    ]


def _compare_metric(
    pair: Pair, metric: Metric, confidence: float, options: BaselineOptions, random: np.random.Generator
) -> MetricChange:
    before, now = ([_METRICS[metric](point) for point in side] for side in pair)
    if min(before + now) <= 0:
        return _not_compared(pair, metric, "one of the runs got no response")
    if any(point.client_bound for side in pair for point in side):
        return _not_compared(pair, metric, "the load generator was the limit in one of the runs")
    logs_before, logs_now = ([math.log(value) for value in side] for side in (before, now))
    repeated = len(before) + len(now) >= 4
    if repeated:
        difference = estimate_difference(logs_before, logs_now, confidence)
    else:
        difference = _compare_single_runs(pair, metric, confidence, random)
    least = options.minimum_effect if repeated else SINGLE_RUN_GUARD
    return MetricChange(
        load=pair[1][0].load,
        metric=metric,
        before=math.exp(fmean(logs_before)),
        now=math.exp(fmean(logs_now)),
        change=math.expm1(difference.estimate),
        change_low=math.expm1(difference.low),
        change_high=_expm1(difference.high),
        verdict=_decide(difference, least, lower_is_worse=metric == "throughput", repeated=repeated),
        method="repeats" if repeated else "single_run",
        explanation=_explain(difference, len(before), len(now), least),
    )


def _compare_single_runs(pair: Pair, metric: Metric, confidence: float, random: np.random.Generator) -> Difference:
    before, now = (pool_repeats(side) for side in pair)
    estimate = math.log(_METRICS[metric](now) / _METRICS[metric](before))
    if metric in _PERCENTILES:
        draws = [
            bootstrap.bootstrap_percentile(point.response, _PERCENTILES[metric], random) for point in (before, now)
        ]
    else:
        draws = [bootstrap.bootstrap_count(point.succeeded, random) / point.duration_seconds for point in (before, now)]
    drawn_before, drawn_now = (np.log(np.maximum(drawn, 1e-9)) for drawn in draws)
    return bootstrap.take_interval(estimate, drawn_now - drawn_before, confidence)


def _compare_errors(pair: Pair, confidence: float, random: np.random.Generator) -> MetricChange:
    before, now = (pool_repeats(side) for side in pair)
    rates = [read_error_rate(point) for point in (before, now)]
    if rates[0] is None or rates[1] is None:
        return _not_compared(pair, "error_rate", "one of the runs finished no request")
    draws = [bootstrap.bootstrap_share(point.unsuccessful, point.ended, random) for point in (before, now)]
    difference = bootstrap.take_interval(rates[1] - rates[0], draws[1] - draws[0], confidence)
    return MetricChange(
        load=pair[1][0].load,
        metric="error_rate",
        before=rates[0],
        now=rates[1],
        change=difference.estimate,
        change_low=difference.low,
        change_high=difference.high,
        verdict=_decide(difference, LEAST_ERROR_RISE, lower_is_worse=False, repeated=True),
        method="requests",
        explanation=f"errors went from {rates[0] * 100:.3g} % to {rates[1] * 100:.3g} % of the requests",
    )


def _decide(difference: Difference, least: float, *, lower_is_worse: bool, repeated: bool) -> Verdict:
    estimate, low, high = difference.estimate, difference.low, difference.high
    if lower_is_worse:
        estimate, low, high = -estimate, -high, -low
    # A single run's interval knows nothing of the noise between runs, so all of it must lie beyond the guard.
    beyond = 0.0 if repeated else least
    if low > beyond and estimate >= least:
        return "worse"
    if high < -beyond and estimate <= -least:
        return "better"
    return "same" if repeated and -least <= low and high <= least else "undecided"


def _explain(difference: Difference, before: int, now: int, least: float) -> str:
    change = format_change(math.expm1(difference.estimate))
    span = f"{format_change(math.expm1(difference.low))} to {format_change(_expm1(difference.high))}"
    runs = f"{before} against {now} repeats" if before + now >= 4 else "single runs"
    return f"{change} ({span}, from {runs}; changes under {format_number(least * 100)} % are ignored)"


def _not_compared(pair: Pair, metric: Metric, reason: str) -> MetricChange:
    before, now = (_read(metric, side) for side in pair)
    return MetricChange(
        load=pair[1][0].load, metric=metric, before=before, now=now,
        change=now / before - 1 if before and now is not None else None,
        change_low=None, change_high=None, verdict="not_compared", method="none", explanation=reason,
    )  # fmt: skip


def _read(metric: Metric, side: Sequence[Point]) -> float | None:
    """A figure of all repeats together; None where nothing was measured."""
    if not side:
        return None
    point = pool_repeats(side)
    if metric == "error_rate":
        return read_error_rate(point)
    return _METRICS[metric](point) if point.response.count or metric == "throughput" else None


def _expm1(value: float) -> float:
    # Two noisy repeats a side can leave an upper end beyond what a float holds.
    return math.expm1(min(value, 700.0))
