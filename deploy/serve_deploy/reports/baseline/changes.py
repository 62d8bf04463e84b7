"""One figure of a load in two runs: what changed, how sure that is by Student's t over repeats, and the verdict.

A figure of one run varies from run to run by more than its own samples tell, so only repeats show how far a change
can be chance. The repeats' logarithms are compared; of goodput, which is a share, the repeats themselves.

With a single run on each side nothing shows the variation between runs. The histogram's own sampling error then
gives the interval, and a verdict is spoken only beyond a further guard of 25 %.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from serve_deploy.reports.baseline import bootstrap
from serve_deploy.reports.baseline.figures import RATIOS, Figure, Pair, list_figures, list_tokens
from serve_deploy.reports.figures import format_change, format_number, format_share
from serve_deploy.reports.intervals import Difference, estimate_difference
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats
from serve_deploy.reports.readers import Read, read_error_rate
from serve_deploy.reports.report import Metric, MetricChange

Verdict = Literal["worse", "better", "same", "undecided", "not_compared"]

SINGLE_RUN_GUARD = 0.25
LEAST_ERROR_RISE = 0.001


def compare_load(
    pair: Pair, confidence: float, minimum_effect: float, random: np.random.Generator
) -> tuple[MetricChange, ...]:
    """Compare every figure of a load that both runs measured; `confidence` is that of each figure."""
    return (
        *(_compare_figure(pair, figure, confidence, minimum_effect, random) for figure in list_figures(pair)),
        _compare_errors(pair, confidence, random),
    )


def leave_uncompared(now: tuple[Point, ...], reason: str) -> tuple[MetricChange, ...]:
    """Every figure of a load that only this run measured."""
    pair: Pair = ((), now)
    return (
        *(_not_compared(pair, figure.metric, figure.read, reason) for figure in list_figures(pair)),
        _not_compared(pair, "error_rate", read_error_rate, reason),
    )


def _compare_figure(
    pair: Pair, figure: Figure, confidence: float, minimum_effect: float, random: np.random.Generator
) -> MetricChange:
    obstacle = _find_obstacle(pair, figure)
    if obstacle:
        return _not_compared(pair, figure.metric, figure.read, obstacle)
    before, now = ([_read(figure, point) for point in side] for side in pair)
    repeated = len(before) + len(now) >= 4
    if repeated:
        difference = estimate_difference(before, now, confidence)
    else:
        difference = _compare_single_runs(pair, figure, confidence, random)
    least = minimum_effect if repeated else SINGLE_RUN_GUARD
    change = Difference(*map(figure.scale.change, (difference.estimate, difference.low, difference.high)))
    return MetricChange(
        load=pair[1][0].load,
        metric=figure.metric,
        before=figure.scale.mean(before),
        now=figure.scale.mean(now),
        change=change.estimate,
        change_low=change.low,
        change_high=change.high,
        verdict=_decide(difference, least, lower_is_worse=figure.lower_is_worse, repeated=repeated),
        method="repeats" if repeated else "single_run",
        explanation=_explain(change, len(before), len(now), least),
    )


def _find_obstacle(pair: Pair, figure: Figure) -> str:
    """Why a figure cannot be compared; "" where it can."""
    points = [point for side in pair for point in side]
    tokens = list_tokens(pair)
    if figure.metric == "goodput":
        asked = {tuple(objective.expression for objective in generation.objectives) for generation in tokens}
        if len(asked) > 1:
            return "the runs had other objectives"
    if figure.metric == "output_tokens" and len({frozenset(each.output_counted_by) for each in tokens}) > 1:
        return "the tokens were counted in another way"
    if any((value := figure.read(point)) is None or (value <= 0 and figure.scale is RATIOS) for point in points):
        missing = "second token" if figure.metric == "itl_p99" else "response"
        return f"one of the runs got no {missing}"
    return "the load generator was the limit in one of the runs" if any(point.client_bound for point in points) else ""


def _compare_single_runs(pair: Pair, figure: Figure, confidence: float, random: np.random.Generator) -> Difference:
    runs = [pool_repeats(side) for side in pair]
    before, now = (_read(figure, run) for run in runs)
    drawn_before, drawn_now = (figure.scale.draws(figure.resample(run, random)) for run in runs)
    return bootstrap.take_interval(now - before, drawn_now - drawn_before, confidence)


def _read(figure: Figure, point: Point) -> float:
    return figure.scale.values(figure.read(point) or 0.0)


def _compare_errors(pair: Pair, confidence: float, random: np.random.Generator) -> MetricChange:
    before, now = (pool_repeats(side) for side in pair)
    rates = [read_error_rate(point) for point in (before, now)]
    if rates[0] is None or rates[1] is None:
        return _not_compared(pair, "error_rate", read_error_rate, "one of the runs finished no request")
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
        explanation=f"errors went from {format_share(rates[0])} to {format_share(rates[1])} of the requests",
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


def _explain(change: Difference, before: int, now: int, least: float) -> str:
    span = f"{format_change(change.low)} to {format_change(change.high)}"
    runs = f"{before} against {now} repeats" if before + now >= 4 else "single runs"
    return (
        f"{format_change(change.estimate)} ({span}, from {runs}; "
        f"changes under {format_number(least * 100)} % are ignored)"
    )


def _not_compared(pair: Pair, metric: Metric, read: Read, reason: str) -> MetricChange:
    before, now = (read(pool_repeats(side)) if side else None for side in pair)
    return MetricChange(
        load=pair[1][0].load, metric=metric, before=before, now=now,
        change=now / before - 1 if before and now is not None else None,
        change_low=None, change_high=None, verdict="not_compared", method="none", explanation=reason,
    )  # fmt: skip
