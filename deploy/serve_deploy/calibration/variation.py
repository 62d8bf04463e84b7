"""How execution times vary about their means, from response times of one user. Pure.

Most of it is a factor of the mean. A stall is not: it takes as long whatever is executed, and strikes the more often
the longer that lasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deploy.reports.latencies import read_histogram
from serve_deploy.reports.point import Point
from serve_deploy.twin import Times

Factors = NDArray[np.float64]
# Of one user, a request that takes so many times the median was stalled.
_STALLED = 2.0
_WIDEST = 30.0
_UNVARIED = Times.constant(1.0).quantiles


@dataclass(frozen=True)
class Stall:
    """What a stall adds to an execution, and how many there are in a second of executions."""

    seconds: float
    rate: float


@dataclass(frozen=True)
class Variation:
    """Quantiles of executions without stalls by batch size, their mean being 1; and the stalls."""

    factors: Mapping[int, Factors]
    stalls: tuple[Stall, ...] = ()

    def times(self, size: int, mean_seconds: float) -> Times:
        """The times of executions of one size with this mean, stalls included."""
        usual = mean_seconds / (1 + sum(stall.rate * stall.seconds for stall in self.stalls))
        body = Times(usual * self._factors_at(size))
        shares = [stall.rate * usual for stall in self.stalls]
        if not sum(shares):
            return body
        values = np.concatenate([body.quantiles, [body.mean + stall.seconds for stall in self.stalls]])
        unstalled = max(0.0, 1 - sum(shares)) / len(body.quantiles)
        found = Times.of(values, [unstalled] * len(body.quantiles) + shares)
        return found.times(mean_seconds / found.mean)

    def _factors_at(self, size: int) -> Factors:
        known = sorted(self.factors)
        if not known:
            return _UNVARIED
        low = max((each for each in known if each <= size), default=known[0])
        high = min((each for each in known if each >= size), default=known[-1])
        if low == high:
            return self.factors[low]
        share = (np.log(size) - np.log(low)) / (np.log(high) - np.log(low))
        mixed: Factors = self.factors[low] * (1 - share) + self.factors[high] * share
        return mixed


def fit_variation(points: Sequence[Point], outside_seconds: float) -> Variation:
    """From the loads of one user by rows in a request; the others tell how often the machine stalls."""
    lone = [point for point in points if point.load.concurrency == 1 and point.response.histogram]
    # The first of each size: of an ensemble's members, several loads may have one request in flight.
    by_size = {point.load.batch_size: point for point in reversed(lone)}
    factors = {size: _factors(point, outside_seconds) for size, point in by_size.items()}
    single = by_size.get(1)
    return Variation(factors, tuple(_find_stalls(single, points, outside_seconds)) if single else ())


def _factors(point: Point, outside_seconds: float) -> Factors:
    """Of what was not stalled."""
    longest = _STALLED * point.response.p50_us
    values, counts = zip(*((us, count) for us, count in _pairs(point) if us <= longest), strict=True)
    times = Times.of(np.array(values) / 1e6, counts).less(outside_seconds)
    return times.quantiles / times.mean if times.mean else _UNVARIED


def _find_stalls(alone: Point, points: Sequence[Point], outside_seconds: float) -> Iterator[Stall]:
    median = alone.response.p50_us
    usual = [(us, count) for us, count in _pairs(alone) if us <= _STALLED * median]
    executed = sum(count * max(0.0, us / 1e6 - outside_seconds) for us, count in usual)
    others = [point for point in points if point.load.batch_size == 1 and point.response.histogram]
    for us, count in _pairs(alone):
        if us > _STALLED * median and executed:
            stalled_us = min(us, _WIDEST * median) - median
            yield Stall(stalled_us / 1e6, count / executed * _confirmed(stalled_us, alone, others))


def _confirmed(stalled_us: float, alone: Point, points: Sequence[Point]) -> float:
    """How often the machine stalls so under all loads, to how often it did under this one; at most 1.

    A load whose median is longer does not tell: there a request waits as long for others.
    """
    telling = [point for point in points if point is alone or point.response.p50_us < stalled_us]
    seconds = sum(point.duration_seconds for point in telling)
    rate = sum(_count_stalls(point, stalled_us) for point in telling) / seconds
    return min(1.0, rate * alone.duration_seconds / _count_stalls(alone, stalled_us))


def _count_stalls(point: Point, stalled_us: float) -> float:
    """A stall delays the requests of all users."""
    late = point.response.p50_us + stalled_us / 2
    return sum(count for us, count in _pairs(point) if us > late) / (point.load.concurrency or 1)


def _pairs(point: Point) -> Sequence[tuple[float, int]]:
    return read_histogram(point.response).pairs()
