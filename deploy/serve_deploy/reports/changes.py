"""One figure of a load in two runs: what changed, how sure that is by Student's t over repeats, and the verdict.

A figure of one run varies from run to run by more than its own samples tell, so only repeats show how far a change
can be chance. The repeats' logarithms are compared.

With a single run on each side nothing shows the variation between runs. The histogram's own sampling error then
gives the interval, and a verdict is spoken only beyond a further guard of 25 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from serve_deploy.reports import bootstrap
from serve_deploy.reports.figures import format_change, format_number, format_share
from serve_deploy.reports.intervals import Difference, estimate_difference
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats
from serve_deploy.reports.readers import read_error_rate
from serve_deploy.reports.report import MetricChange

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


def compare_load(
    pair: Pair, confidence: float, options: BaselineOptions, random: np.random.Generator
) -> tuple[MetricChange, ...]:
    """Compare every figure of a load that both runs measured; `confidence` is that of each figure."""
    return (
        *(_compare_metric(pair, metric, confidence, options, random) for metric in _METRICS),
        _compare_errors(pair, confidence, random),
    )


def leave_uncompared(now: tuple[Point, ...], reason: str) -> tuple[MetricChange, ...]:
    """Every figure of a load that only this run measured."""
    return (
        *(_not_compared(((), now), metric, reason) for metric in _METRICS),
        _not_compared(((), now), "error_rate", reason),
    )


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
