"""When the requests of an open loop are due, and which worker sends them. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serve_deploy.arrivals.shapes import ConstantRate, OpenLoop, PoissonRate, Ramp, Replay

_CHUNK = 8192
Offsets = NDArray[np.float64]


class Schedule:
    """One worker's intended send times, in seconds from the start: every `workers`-th of the whole schedule.

    Iterating gives them in chunks, some of which may be empty. The schedule ends before `duration_seconds`, or with
    its `requests`-th request if that comes first; `seed` is that of Poisson arrivals.
    """

    def __init__(
        self,
        shape: OpenLoop,
        duration_seconds: float,
        *,
        requests: int | None = None,
        worker: int = 0,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        self._arrivals = _arrivals(shape, duration_seconds, seed)
        self._duration = duration_seconds
        self._requests = requests
        self._worker = worker
        self._workers = workers
        self._position = 0
        self._is_over = False

    def __iter__(self) -> Iterator[Offsets]:
        return self

    def __next__(self) -> Offsets:
        chunk = None if self._is_over else self._arrivals.take()
        if chunk is None:
            raise StopIteration
        inside = chunk[: int(np.searchsorted(chunk, self._duration, side="left"))]
        if self._requests is not None:
            inside = inside[: self._requests - self._position]
        share = inside[(self._worker - self._position) % self._workers :: self._workers]
        self._position += len(inside)
        self._is_over = len(inside) < len(chunk)
        return share

    def skip(self, until: float) -> int:
        """Leave out what is due before then and was not taken; returns how many of this worker's those are."""
        if self._is_over:
            return 0
        before = self._position
        self._position += self._arrivals.skip(min(until, self._duration))
        if self._requests is not None:
            self._position = min(self._position, self._requests)
        self._is_over = until >= self._duration or self._position == self._requests
        shares = (split_evenly(count, self._workers, self._worker) for count in (self._position, before))
        return next(shares) - next(shares)


class _Arrivals(Protocol):
    def take(self) -> Offsets | None:
        """The next arrivals; None where there are no more."""

    def skip(self, until: float) -> int:
        """Leave out the arrivals before then, and count them, at a cost that does not depend on their number."""


def _arrivals(shape: OpenLoop, duration_seconds: float, seed: int) -> _Arrivals:
    match shape:
        case ConstantRate(rate):
            return _EvenArrivals(rate, 0.0, math.inf)
        case PoissonRate(rate):
            return _PoissonArrivals(rate, seed)
        case Ramp(first, last):
            total = math.ceil((first + last) / 2 * duration_seconds)
            return _EvenArrivals(first, (last - first) / duration_seconds, total)
        case Replay(offsets):
            return _RecordedArrivals(np.array(offsets, np.float64))


class _EvenArrivals:
    """The i-th request is due when the integral of the rate, first·t + growth·t²/2, reaches i."""

    def __init__(self, first: float, growth: float, total: float) -> None:
        self._first, self._growth, self._total = first, growth, total
        self._index = 0

    def take(self) -> Offsets | None:
        count = int(min(_CHUNK, self._total - self._index))
        if count <= 0:
            return None
        wanted = np.arange(self._index, self._index + count, dtype=np.float64)
        self._index += count
        root: Offsets = np.sqrt(np.maximum(self._first**2 + 2 * self._growth * wanted, 0))
        # The form that does not cancel where growth is small.
        times: Offsets = 2 * wanted / (self._first + root) if self._first > 0 else root / self._growth
        return wanted / self._first if self._growth == 0 else times

    def skip(self, until: float) -> int:
        before = self._index
        due = self._first * until + self._growth * until**2 / 2
        self._index = max(before, math.ceil(min(due, self._total)))
        return self._index - before


class _PoissonArrivals:
    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._generator = np.random.default_rng(seed)
        self._now = 0.0

    def take(self) -> Offsets | None:
        chunk: Offsets = self._now + np.cumsum(self._generator.exponential(1 / self._rate, _CHUNK))
        self._now = float(chunk[-1])
        return chunk

    def skip(self, until: float) -> int:
        # Whatever came before, the arrivals of a span are as many as a Poisson variable says.
        count = int(self._generator.poisson(self._rate * max(until - self._now, 0.0)))
        self._now = max(self._now, until)
        return count


class _RecordedArrivals:
    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets

    def take(self) -> Offsets | None:
        taken, self._offsets = self._offsets, self._offsets[:0]
        return taken if taken.size else None

    def skip(self, until: float) -> int:
        count = int(np.searchsorted(self._offsets, until, side="left"))
        self._offsets = self._offsets[count:]
        return count


def split_evenly(total: int, workers: int, worker: int) -> int:
    """One worker's share of `total`; the shares differ by at most one and add up."""
    return total // workers + (worker < total % workers)
