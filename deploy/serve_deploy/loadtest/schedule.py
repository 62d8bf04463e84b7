"""When the requests of an open loop are due, and which worker sends them. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serve_deploy.loadtest.loads import ConstantRate, OpenLoop, PoissonRate, Ramp, Replay

_CHUNK = 8192


def offset_chunks(
    shape: OpenLoop,
    duration_seconds: float,
    *,
    requests: int | None = None,
    worker: int = 0,
    workers: int = 1,
    seed: int = 0,
) -> Iterator[NDArray[np.float64]]:
    """Yield one worker's intended send times, in seconds from the start: every `workers`-th of the whole schedule.

    The schedule ends before `duration_seconds`, or with its `requests`-th request if that comes first; `seed` is that
    of Poisson arrivals.
    """
    position = 0
    for chunk in _chunks(shape, duration_seconds, seed):
        inside = chunk[: int(np.searchsorted(chunk, duration_seconds, side="left"))]
        if requests is not None:
            inside = inside[: requests - position]
        yield inside[(worker - position) % workers :: workers]
        position += len(inside)
        if len(inside) < len(chunk):
            return


def _chunks(shape: OpenLoop, duration_seconds: float, seed: int) -> Iterator[NDArray[np.float64]]:
    match shape:
        case ConstantRate(rate):
            return (indexes / rate for indexes in _index_chunks())
        case PoissonRate(rate):
            return _poisson_chunks(rate, seed)
        case Ramp(first, last):
            return _ramp_chunks(first, last, duration_seconds)
        case Replay(offsets):
            return iter((np.array(offsets, np.float64),))


def _index_chunks() -> Iterator[NDArray[np.float64]]:
    start = 0
    while True:
        yield np.arange(start, start + _CHUNK, dtype=np.float64)
        start += _CHUNK


def _poisson_chunks(rate: float, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    now = 0.0
    while True:
        chunk = now + np.cumsum(generator.exponential(1 / rate, _CHUNK))
        yield chunk
        now = float(chunk[-1])


def _ramp_chunks(first: float, last: float, duration_seconds: float) -> Iterator[NDArray[np.float64]]:
    # The i-th request is due when the integral of the rate, first·t + growth·t²/2, reaches i.
    growth = (last - first) / duration_seconds
    total = math.ceil((first + last) / 2 * duration_seconds)
    for indexes in _index_chunks():
        wanted = indexes[indexes < total]
        if growth == 0:
            yield wanted / first
        else:
            root = np.sqrt(np.maximum(first * first + 2 * growth * wanted, 0))
            # The form that does not cancel where growth is small.
            yield 2 * wanted / (first + root) if first > 0 else root / growth
        if len(wanted) < len(indexes):
            return


def split_evenly(total: int, workers: int, worker: int) -> int:
    """One worker's share of `total`; the shares differ by at most one and add up."""
    return total // workers + (worker < total % workers)
