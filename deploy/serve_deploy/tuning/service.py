"""From measurements to the twin's model of a server: execution times by batch size and by busy instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serve_deploy.reports.latencies import read_histogram
from serve_deploy.reports.point import Point
from serve_deploy.tuning.measured import Measured
from serve_deploy.twin import Outside, ServiceTimes, Times

Shape = NDArray[np.float64]
# Executions of a size that were seen less often say little of it.
_FEWEST = 5
# Batches of nearly the largest size: the queue was never empty.
_FULL = 0.9
# Instances that are taken for less of the time are not what limits the throughput.
_BUSY = 0.85
_WIDEST = 30.0
# Of one user, a mean so many times as long as the median comes from few requests.
_STALLED = 1.5


@dataclass(frozen=True)
class Service:
    """What was measured of one setting, by the number of instances.

    `dispatch_seconds`: how long a request waits that finds an instance idle.
    """

    times: ServiceTimes
    outside: Outside
    largest_batch: int
    levels: tuple[int, ...]
    cpu_seconds: tuple[tuple[float, float], ...]
    dispatch_seconds: float = 0.0

    def cpu_seconds_at(self, mean_batch_size: float) -> float | None:
        """The server's CPU time for an inference, by the mean batch size; None where it was not to be seen."""
        if not self.cpu_seconds:
            return None
        sizes, seconds = zip(*sorted(self.cpu_seconds), strict=True)
        return float(np.interp(mean_batch_size, sizes, seconds))


def fit_service(levels: Mapping[int, Sequence[Measured]], largest_batch: int) -> Service:
    """Service times from the measurements of each instance count; the first level needs single requests alone.

    Means come from Triton's own account of its executions, the spread of a time from response times at one user.
    """
    first = levels[min(levels)]
    alone = min((each for each in first if each.point.load.batch_size == 1), key=lambda each: each.concurrency)
    dispatch_seconds, outside_seconds = _beside_execution(alone)
    shapes = _shapes(first, outside_seconds)
    sizes = _sizes(largest_batch)
    measured: dict[tuple[int, int], Times] = {}
    for instances, periods in levels.items():
        busy = [each for each in periods if instances == 1 or each.concurrency >= 2 * instances]
        means = _means(busy or periods, sizes)
        gap = _gap_seconds(periods, instances, largest_batch)
        measured |= {
            (size, instances): Times((mean + gap) * _shape_at(shapes, size))
            for size, mean in zip(sizes, means, strict=True)
        }
    if 1 not in levels:
        measured |= {(size, 1): times for (size, level), times in list(measured.items()) if level == min(levels)}
    return Service(
        times=ServiceTimes(measured),
        outside=_outside(levels, outside_seconds),
        largest_batch=largest_batch,
        levels=tuple(sorted(levels)),
        dispatch_seconds=dispatch_seconds,
        cpu_seconds=tuple(
            (each.mean_batch_size, each.point.server_cpu_cores / each.point.throughput)
            for periods in levels.values()
            for each in periods
            if each.point.server_cpu_cores and each.point.throughput and each.point.load.batch_size == 1
        ),
    )


def _sizes(largest: int) -> tuple[int, ...]:
    """1, 2, 4 … and the largest."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return tuple(dict.fromkeys([*sizes, max(largest, 1)]))


def _mean_execution(measured: Measured) -> float:
    count = sum(each.count for each in measured.executions)
    return sum(each.count * each.mean_seconds for each in measured.executions) / count if count else 0.0


def _queue_seconds(point: Point) -> float:
    return point.server[0].queue_us / 1e6 if point.server else 0.0


def _beside_execution(alone: Measured) -> tuple[float, float]:
    """What a lone request takes beside its execution: until an idle instance begins, and outside of the model."""
    response = alone.point.response
    # A machine that stood still for a moment has longer means, and the model has nothing to do with it.
    whole = response.p50_us if response.mean_us > _STALLED * response.p50_us else response.mean_us
    rest = max(0.0, whole / 1e6 - _mean_execution(alone))
    dispatch = min(_queue_seconds(alone.point), rest)
    return dispatch, rest - dispatch


def _outside(levels: Mapping[int, Sequence[Measured]], seconds: float) -> Outside:
    """What a request costs outside of the model; limited to what passed where the instances were not the limit."""
    passed = [
        each.point.throughput
        for instances, periods in levels.items()
        for each in periods
        if each.point.load.batch_size == 1
        and each.concurrency >= 4 * instances
        and _utilisation(each, instances) < _BUSY
    ]
    if not passed or not seconds:
        return Outside(times=Times.constant(seconds))
    most = max(
        each.point.throughput for periods in levels.values() for each in periods if each.point.load.batch_size == 1
    )
    workers = max(1, round(most * seconds))
    return Outside(times=Times.constant(workers / most), workers=workers)


def _utilisation(measured: Measured, instances: int) -> float:
    """The share of the time that the instances executed."""
    if not measured.mean_batch_size:
        return 1.0
    return measured.point.throughput / measured.mean_batch_size * _mean_execution(measured) / instances


def _means(periods: Sequence[Measured], sizes: Sequence[int]) -> Shape:
    """Mean execution seconds at each size, from what was seen near it.

    Requests that each filled a batch alone count only where no batches of several requests were that large.
    """
    joined = _pool(each for each in periods if each.point.load.batch_size == 1)
    reached = max((size for size, (count, _) in joined.items() if count >= _FEWEST), default=0)
    single = _pool(each for each in periods if each.point.load.batch_size > 1)
    pooled = joined | {size: seen for size, seen in single.items() if size > reached * 1.5}
    known = {size: seen for size, seen in pooled.items() if seen[0] >= _FEWEST} or pooled
    places, seconds = [], []
    for low, high in _bins(sizes):
        inside = [(size, count, total) for size, (count, total) in known.items() if low <= size < high]
        if inside:
            count = sum(item[1] for item in inside)
            places.append(sum(size * n for size, n, _ in inside) / count)
            seconds.append(sum(total for *_, total in inside) / count)
    return _interpolate(np.array(places), np.array(seconds), np.array(sizes, np.float64))


def _pool(periods: Iterable[Measured]) -> dict[int, tuple[int, float]]:
    pooled: dict[int, tuple[int, float]] = {}
    for period in periods:
        for each in period.executions:
            count, total = pooled.get(each.batch_size, (0, 0.0))
            pooled[each.batch_size] = count + each.count, total + each.count * each.mean_seconds
    return pooled


def _bins(sizes: Sequence[int]) -> list[tuple[float, float]]:
    edges = [0.0, *(float(np.sqrt(a * b)) for a, b in pairwise(sizes)), float("inf")]
    return list(pairwise(edges))


def _interpolate(places: Shape, seconds: Shape, sizes: Shape) -> Shape:
    """Linear between what is known and beyond it; a larger batch is never quicker."""
    found = np.array(np.interp(sizes, places, seconds), np.float64)
    if len(places) > 1:
        slopes = np.maximum(0.0, np.diff(seconds) / np.diff(places))
        below, beyond = sizes < places[0], sizes > places[-1]
        found[below] = np.maximum(seconds[0] - slopes[0] * (places[0] - sizes[below]), seconds[0] / 2)
        found[beyond] = seconds[-1] + slopes[-1] * (sizes[beyond] - places[-1])
    ascending: Shape = np.maximum.accumulate(found)
    return ascending


def _gap_seconds(periods: Sequence[Measured], instances: int, largest: int) -> float:
    """What an instance spends between executions while requests always wait for it."""
    most = max(periods, key=lambda each: each.concurrency)
    executed = sum(each.count for each in most.executions)
    if not executed or most.concurrency < 2 * instances or most.mean_batch_size < _FULL * max(largest, 1):
        return 0.0
    rate = most.point.throughput / most.mean_batch_size
    return max(0.0, instances / rate - _mean_execution(most))


def _shapes(periods: Sequence[Measured], outside_seconds: float) -> dict[int, Shape]:
    """How the time of an execution varies about its mean, by batch size, from one user's response times."""
    shapes = {}
    for each in periods:
        if each.concurrency != 1:
            continue
        pairs = read_histogram(each.point.response).pairs()
        if not pairs:
            continue
        values, counts = zip(*pairs, strict=True)
        times = Times.of(np.array(values) / 1e6, counts).less(outside_seconds)
        mean = times.mean
        shapes[each.point.load.batch_size] = (
            np.clip(times.quantiles / mean, 0.0, _WIDEST) if mean else times.quantiles + 1
        )
    return shapes or {1: Times.constant(1.0).quantiles}


def _shape_at(shapes: Mapping[int, Shape], size: int) -> Shape:
    known = sorted(shapes)
    low = max((each for each in known if each <= size), default=known[0])
    high = min((each for each in known if each >= size), default=known[-1])
    if low == high:
        return shapes[low]
    share = (np.log(size) - np.log(low)) / (np.log(high) - np.log(low))
    mixed: Shape = shapes[low] * (1 - share) + shapes[high] * share
    return mixed
