"""HDR histograms: counts in buckets of bounded relative width, so that merging them loses nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SUB_BUCKET_BITS = 8
_LARGEST_US = 1 << 40
RELATIVE_WIDTH = 1 / (1 << _SUB_BUCKET_BITS)


def _indexes(values_us: NDArray[np.int64]) -> NDArray[np.int64]:
    # frexp's exponent is the bit length, exactly, for every value below 2**53.
    shifts = np.maximum(np.frexp(values_us.astype(np.float64))[1].astype(np.int64) - (_SUB_BUCKET_BITS + 1), 0)
    indexes: NDArray[np.int64] = (shifts << _SUB_BUCKET_BITS) + (values_us >> shifts)
    return indexes


def _shifts(indexes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.maximum((indexes >> _SUB_BUCKET_BITS) - 1, 0)


def _lower_bounds(indexes: NDArray[np.int64]) -> NDArray[np.int64]:
    shifts = _shifts(indexes)
    return (indexes - (shifts << _SUB_BUCKET_BITS)) << shifts


_BUCKETS = _indexes(np.array([_LARGEST_US])).item() + 1


@dataclass
class Histogram:
    """Durations in µs: exact below 512 µs, within 1/256 above; min, max and mean are those of the samples."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BUCKETS, np.int64))
    total_us: float = 0.0
    min_us: float = float("inf")
    max_us: float = 0.0

    @property
    def count(self) -> int:
        """How many samples were recorded."""
        return int(self.counts.sum())

    @property
    def mean_us(self) -> float:
        """Mean of the samples; 0 where there are none."""
        return self.total_us / count if (count := self.count) else 0.0

    def record_seconds(self, seconds: NDArray[np.float64], counts: NDArray[np.int64] | None = None) -> None:
        """Add samples given in seconds, each as often as `counts` says; anything below 0 counts as 0."""
        if not seconds.size:
            return
        micros = np.clip(seconds * 1e6, 0, _LARGEST_US)
        indexes = _indexes(np.rint(micros).astype(np.int64))
        if counts is None:
            self.counts += np.bincount(indexes, minlength=_BUCKETS)
            self.total_us += float(micros.sum())
        else:
            np.add.at(self.counts, indexes, counts)
            self.total_us += float(micros @ counts)
        self.min_us = min(self.min_us, float(micros.min()))
        self.max_us = max(self.max_us, float(micros.max()))

    def merge(self, other: Histogram) -> None:
        """Add another histogram's samples: the same result as recording them here."""
        self.counts += other.counts
        self.total_us += other.total_us
        self.min_us = min(self.min_us, other.min_us)
        self.max_us = max(self.max_us, other.max_us)

    def percentile_us(self, percent: float) -> float:
        """The smallest value that at least `percent` % of the samples do not exceed, within a bucket's width."""
        count = self.count
        if not count:
            return 0.0
        rank = int(np.ceil(count * percent / 100 - 1e-9))
        index = np.searchsorted(np.cumsum(self.counts), np.array([rank]))
        width = 1 << _shifts(index).item()
        middle = _lower_bounds(index).item() + (width - 1) / 2
        return min(max(middle, self.min_us), self.max_us)

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(Lower bound in µs, count) of every bucket that is not empty, ascending."""
        used = np.flatnonzero(self.counts)
        return tuple(zip(_lower_bounds(used).tolist(), self.counts[used].tolist(), strict=True))

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[int, int]], *, mean_us: float, min_us: float, max_us: float) -> Histogram:
        """Rebuild what `pairs` wrote, with the figures that were saved beside it."""
        histogram = cls()
        table = np.array(list(pairs), np.int64).reshape(-1, 2)
        np.add.at(histogram.counts, _indexes(table[:, 0]), table[:, 1])
        if table.size:
            histogram.total_us = mean_us * histogram.count
            histogram.min_us, histogram.max_us = min_us, max_us
        return histogram
