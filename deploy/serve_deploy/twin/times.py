"""How long things take: measured distributions, and those of batch sizes that were not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from serve_deploy.errors import UsageError

# Quantiles that a distribution is kept as: enough for a p99.9.
GRAIN = 1024
_ROUNDS = 16
_LEVELS = (np.arange(GRAIN) + 0.5) / GRAIN
Seconds = NDArray[np.float64]


def draw_levels(generator: np.random.Generator) -> NDArray[np.int64]:
    """Which quantiles to take, one after the other and then again: each as often, so that the mean is that measured."""
    return generator.permutation(np.repeat(np.arange(GRAIN), _ROUNDS))


@dataclass(frozen=True, eq=False)
class Times:
    """A distribution of durations: `GRAIN` evenly spaced quantiles in seconds, ascending."""

    quantiles: Seconds

    @classmethod
    def constant(cls, seconds: float) -> Times:
        """Always the same."""
        return cls(np.full(GRAIN, float(seconds)))

    @classmethod
    def exponential(cls, mean_seconds: float) -> Times:
        """Of which nothing is known but the mean."""
        drawn = -np.log1p(-_LEVELS)
        return cls(drawn * (mean_seconds / drawn.mean()))

    @classmethod
    def of(cls, seconds: Sequence[float] | Seconds, counts: Sequence[float] | None = None) -> Times:
        """As measured; `counts` says how often each was seen, as the buckets of a histogram do."""
        values = np.asarray(seconds, np.float64)
        if not values.size or values.min() < 0:
            raise UsageError("a distribution of times needs at least one, and none below 0")
        if counts is None:
            return cls(np.quantile(values, _LEVELS))
        order = np.argsort(values)
        seen = np.cumsum(np.asarray(counts, np.float64)[order])
        return cls(values[order][np.searchsorted(seen, _LEVELS * seen[-1])])

    @property
    def mean(self) -> float:
        """Mean in seconds."""
        return float(self.quantiles.mean())

    def less(self, seconds: float) -> Times:
        """Without a part that always takes so long, which is in each measured time."""
        return Times(np.maximum(self.quantiles - seconds, 0.0))

    def times(self, factor: float) -> Times:
        """All of them longer by a factor."""
        return Times(self.quantiles * factor)


@dataclass(frozen=True, eq=False)
class ServiceTimes:
    """How long one execution takes an instance, by batch size and by how many instances execute at once.

    Between measured sizes and counts each quantile is interpolated. Beyond the largest nothing is known: UsageError.
    `between` has what of it passes between executions, in seconds a row, by how many instances execute.
    """

    measured: Mapping[tuple[int, int], Times]
    between: Mapping[int, float] = field(default_factory=dict)

    def execution_seconds(self, batch_size: int, busy: int = 1) -> float:
        """The mean of the execution alone."""
        return self.at(batch_size, busy).mean - batch_size * self.between.get(busy, 0.0)

    @classmethod
    def by_batch(cls, times: Mapping[int, Times | float]) -> ServiceTimes:
        """Times by batch size that do not depend on how many instances execute; a number is a constant time."""
        return cls(
            {(size, 1): each if isinstance(each, Times) else Times.constant(each) for size, each in times.items()}
        )

    @classmethod
    def linear(cls, base_seconds: float, row_seconds: float, largest: int) -> ServiceTimes:
        """base + rows × batch size, always."""
        return cls.by_batch({size: base_seconds + row_seconds * size for size in {1, largest}})

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """The counts of executing instances that were measured."""
        return tuple(sorted({busy for _, busy in self.measured}))

    @property
    def contend(self) -> bool:
        """Whether executions at the same time were measured to slow each other."""
        return len(self.levels) > 1

    def at(self, batch_size: int, busy: int = 1) -> Times:
        """The times of one batch size while so many instances execute."""
        if len(self.levels) == 1:
            return self._of_level(batch_size, self.levels[0])
        low, high, share = _between(busy, self.levels, "executing instances")
        return _mix(self._of_level(batch_size, low), self._of_level(batch_size, high), share)

    def _of_level(self, batch_size: int, busy: int) -> Times:
        sizes = sorted(size for size, level in self.measured if level == busy)
        first = self.levels[0]
        if busy != first and not sizes[0] <= batch_size <= sizes[-1]:
            # Slowed as the nearest measured size is.
            near = min(max(batch_size, sizes[0]), sizes[-1])
            return self._of_level(batch_size, first).times(
                self._of_level(near, busy).mean / (self._of_level(near, first).mean or 1.0)
            )
        low, high, share = _between(batch_size, sizes, "rows in a batch")
        return _mix(self.measured[low, busy], self.measured[high, busy], share)


def _between(value: int, measured: Sequence[int], what: str) -> tuple[int, int, float]:
    """The measured values on either side, and how far between them the value lies."""
    if not measured[0] <= value <= measured[-1]:
        raise UsageError(f"{value} {what}: measured from {measured[0]} to {measured[-1]}")
    high = next(each for each in measured if each >= value)
    low = max(each for each in measured if each <= value)
    return low, high, (value - low) / (high - low) if high > low else 0.0


def _mix(low: Times, high: Times, share: float) -> Times:
    return Times(low.quantiles + (high.quantiles - low.quantiles) * share) if share else low
