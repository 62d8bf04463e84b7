"""The twin's model of a server from measured loads: execution times by batch size and busy instances. Pure.

Means come from Triton's own account of its executions, the spread of a time from response times at one user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np

from serve_deploy.calibration.variation import fit_variation
from serve_deploy.reports.point import Point
from serve_deploy.twin import Outside, ServiceTimes, Times

# Executions of a size that were seen less often say little of it.
FEWEST = 5
# Batches of nearly the largest size: the queue was never empty.
_FULL = 0.9
# Instances that are taken for less of the time are not what limits the throughput.
_BUSY = 0.85
# Of several, so many execute where each of them has work.
_NEARLY_ALL = 0.75
# Rows in a batch whose answers tell how long after each other they come.
_SEVERAL = 2.0
# Of one user, a mean so many times as long as the median comes from few requests.
_STALLED = 1.5


class Executed(Protocol):
    """Executions of one batch size: how many, and the mean time that an instance was taken by one."""

    @property
    def batch_size(self) -> int:
        """Rows."""

    @property
    def count(self) -> int:
        """How many."""

    @property
    def mean_seconds(self) -> float:
        """Of one."""


class Period(Protocol):
    """A measured load on a model, and what the model executed meanwhile."""

    @property
    def point(self) -> Point:
        """What clients saw."""

    @property
    def executions(self) -> Sequence[Executed]:
        """By batch size."""


@dataclass(frozen=True)
class Fitted:
    """`dispatch_seconds`: how long a request waits that finds an instance idle."""

    times: ServiceTimes
    outside: Outside
    dispatch_seconds: float


def fit(levels: Mapping[int, Sequence[Period]], largest: int, *, is_limit: bool = True) -> Fitted:
    """Service times from loads by the number of instances; the fewest need single requests of one user.

    `is_limit`: the model is what limits the heaviest loads, and waits for nobody under these.
    """
    fewest = min(levels)
    alone = min((each for each in levels[fewest] if _rows(each) == 1), key=_users)
    dispatch_seconds, outside_seconds = _beside_execution(alone)
    variation = fit_variation([each.point for each in levels[fewest]], outside_seconds)
    means = {busy: _means(_all_busy(periods, busy), largest) for busy, periods in levels.items()}
    if fewest > 1:
        slowdown = _slowdown(means[fewest], levels[fewest])
        means[1] = {size: mean / slowdown for size, mean in means[fewest].items()}
    between = {
        busy: _between_seconds(levels[max(busy, fewest)], max(busy, fewest), largest) if is_limit else 0.0
        for busy in means
    }
    measured = {
        (size, busy): variation.times(size, mean + size * between[busy])
        for busy, of_level in means.items()
        for size, mean in of_level.items()
    }
    return Fitted(ServiceTimes(measured, between), fit_outside(levels, outside_seconds, largest), dispatch_seconds)


def mean_batch_size(period: Period) -> float:
    """Rows in an execution; 0 where there was none."""
    return mean_rows(period.executions)


def mean_rows(executions: Iterable[Executed]) -> float:
    """Rows in one of these executions; 0 where there are none."""
    pairs = [(each.batch_size, each.count) for each in executions]
    count = sum(count for _, count in pairs)
    return sum(size * count for size, count in pairs) / count if count else 0.0


def mean_execution(period: Period) -> float:
    """Seconds; 0 where there was none."""
    count = sum(each.count for each in period.executions)
    return sum(each.count * each.mean_seconds for each in period.executions) / count if count else 0.0


def _users(period: Period) -> int:
    return period.point.load.concurrency or 0


def _rows(period: Period) -> int:
    return period.point.load.batch_size


def _all_busy(periods: Sequence[Period], instances: int) -> Sequence[Period]:
    """The loads under which all instances executed, as far as there are any."""
    return [each for each in periods if instances == 1 or utilisation(each, instances) > _NEARLY_ALL] or periods


def _slowdown(crowded: Mapping[int, float], periods: Sequence[Period]) -> float:
    """How much longer an execution takes while all instances execute, by the smallest size of one user."""
    pooled = _pool(each for each in periods if _users(each) == 1)
    size = min((size for size in pooled if size in crowded), default=0)
    count, total = pooled.get(size, (0, 0.0))
    return max(1.0, crowded[size] * count / total) if total else 1.0


def _beside_execution(alone: Period) -> tuple[float, float]:
    """What a lone request takes beside its execution: until an idle instance begins, and outside of the model."""
    server = alone.point.server
    rest = max(0.0, lone_seconds(alone.point) - mean_execution(alone))
    dispatch = min(server[0].queue_us / 1e6 if server else 0.0, rest)
    return dispatch, rest - dispatch


def lone_seconds(alone: Point) -> float:
    """How long the only user waits for an answer."""
    response = alone.response
    # A machine that stood still for a moment has longer means, and the model has nothing to do with it.
    return (response.p50_us if response.mean_us > _STALLED * response.p50_us else response.mean_us) / 1e6


def fit_outside(levels: Mapping[int, Sequence[Period]], seconds: float, largest: int) -> Outside:
    """What a request costs outside of the model, and how long the next one has to wait for that.

    Client and front end pass one request after another: at most as many as passed where the instances were not the
    limit. The answers of a batch, which all end at once, come so long after each other that their mean is as late as
    was measured, by the median over the loads.
    """
    single = [(instances, each) for instances, periods in levels.items() for each in periods if _rows(each) == 1]
    instances, heaviest = max(single, key=lambda each: each[1].point.throughput)
    one_by_one = 1 / heaviest.point.throughput if heaviest.point.throughput else 0.0
    full = largest > 1 and mean_batch_size(heaviest) >= _FULL * largest
    if full or _users(heaviest) < 4 * instances or utilisation(heaviest, instances) >= _BUSY or not seconds:
        sent = heaviest.point.client.cpu_us_per_request / 1e6
        apart = [_apart_seconds(each, seconds) for _, each in single if mean_batch_size(each) >= _SEVERAL]
        one_by_one = min(max(sent, median(apart or [0.0])), seconds, one_by_one)
    return Outside(times=Times.constant(one_by_one), workers=1, latency_seconds=max(0.0, seconds - one_by_one))


def _apart_seconds(period: Period, lone_seconds: float) -> float:
    """How long after each other the answers of a batch come: the mean one is (n - 1) / 2 times as late."""
    size, point = mean_batch_size(period), period.point
    rows = sum(each.batch_size * each.count for each in period.executions)
    if not point.server:
        return 0.0
    inside = sum(each.batch_size * each.count * each.mean_seconds for each in period.executions) / rows
    beside = point.response.mean_us / 1e6 - inside - point.server[0].queue_us / 1e6
    return max(0.0, beside - lone_seconds) * 2 / (size - 1)


def utilisation(period: Period, instances: int) -> float:
    """The share of the time that the instances executed."""
    size = mean_batch_size(period)
    return period.point.throughput / size * mean_execution(period) / instances if size else 1.0


def _means(periods: Sequence[Period], largest: int) -> dict[int, float]:
    """Mean execution seconds at each size that was seen often enough, at 1 and at the largest.

    Requests that each filled a batch alone count only where no batches of several requests were that large.
    """
    joined = _pool(each for each in periods if _rows(each) == 1)
    reached = max((size for size, (count, _) in joined.items() if count >= FEWEST), default=0)
    single = _pool(each for each in periods if _rows(each) > 1)
    pooled = joined | {size: seen for size, seen in single.items() if size > reached * 1.5}
    known = {size: seen for size, seen in pooled.items() if seen[0] >= FEWEST} or pooled
    sizes = sorted(known)
    seconds = _ascending([known[size] for size in sizes])
    return {size: _interpolate(size, sizes, seconds) for size in sorted({1, max(largest, 1), *sizes})}


def _pool(periods: Iterable[Period]) -> dict[int, tuple[int, float]]:
    """How many executions each size had, and their seconds in all."""
    pooled: dict[int, tuple[int, float]] = {}
    for period in periods:
        for each in period.executions:
            count, total = pooled.get(each.batch_size, (0, 0.0))
            pooled[each.batch_size] = count + each.count, total + each.count * each.mean_seconds
    return pooled


def _ascending(seen: Iterable[tuple[int, float]]) -> list[float]:
    """The means, those that fall pooled with the ones before: a larger batch is never quicker.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955, doi 10.1214/aoms/1177728423).
    """
    blocks: list[tuple[int, float, int]] = []
    for count, total in seen:
        sizes = 1
        while blocks and blocks[-1][1] * count >= total * blocks[-1][0]:
            before = blocks.pop()
            count, total, sizes = count + before[0], total + before[1], sizes + before[2]
        blocks.append((count, total, sizes))
    return [total / count for count, total, sizes in blocks for _ in range(sizes)]


def _interpolate(size: int, sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Linear between what is known, and with the slope of it all beyond that."""
    if len(sizes) < 2 or sizes[0] <= size <= sizes[-1]:
        return float(np.interp(size, sizes, seconds))
    slope = (seconds[-1] - seconds[0]) / (sizes[-1] - sizes[0])
    if size < sizes[0]:
        return max(seconds[0] - slope * (sizes[0] - size), seconds[0] / 2)
    return seconds[-1] + slope * (size - sizes[-1])


def _between_seconds(periods: Sequence[Period], instances: int, largest: int) -> float:
    """Seconds a row that an instance spends between executions, where a full batch always waited for it."""
    full = [
        each
        for each in periods
        if _users(each) >= 2 * max(largest, 1) * instances and mean_batch_size(each) >= _FULL * max(largest, 1)
    ]
    if not full:
        return 0.0
    best = max(full, key=lambda each: each.point.throughput)
    taken = instances * mean_batch_size(best) / best.point.throughput
    return max(0.0, taken - mean_execution(best)) / mean_batch_size(best)
