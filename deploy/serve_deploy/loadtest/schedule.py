"""When requests are to be sent: load shapes, sweeps, and the intended send times of open loops. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deploy.errors import UsageError

_CHUNK = 8192


@dataclass(frozen=True)
class ClosedLoop:
    """`concurrency` requests in flight: each reply sends the next request."""

    concurrency: int


@dataclass(frozen=True)
class ConstantRate:
    """One request every 1/rate seconds."""

    rate: float


@dataclass(frozen=True)
class PoissonRate:
    """Independent arrivals: exponential gaps of mean 1/rate seconds; the same seed gives the same arrivals."""

    rate: float
    seed: int = 0


@dataclass(frozen=True)
class Ramp:
    """A rate that grows (or falls) evenly from `first` to `last` over the whole duration."""

    first: float
    last: float


@dataclass(frozen=True)
class Replay:
    """Recorded arrivals, in seconds after the first one, ascending; `source` names the recording."""

    offsets: tuple[float, ...]
    source: str


OpenLoop = ConstantRate | PoissonRate | Ramp | Replay
LoadShape = ClosedLoop | OpenLoop


def offset_chunks(
    shape: OpenLoop, duration_seconds: float, *, requests: int | None = None, worker: int = 0, workers: int = 1
) -> Iterator[NDArray[np.float64]]:
    """Yield one worker's intended send times, in seconds from the start: every `workers`-th of the whole schedule.

    The schedule ends before `duration_seconds`, or with its `requests`-th request if that comes first.
    """
    position = 0
    for chunk in _chunks(shape, duration_seconds):
        inside = chunk[: int(np.searchsorted(chunk, duration_seconds, side="left"))]
        if requests is not None:
            inside = inside[: requests - position]
        yield inside[(worker - position) % workers :: workers]
        position += len(inside)
        if len(inside) < len(chunk):
            return


def _chunks(shape: OpenLoop, duration_seconds: float) -> Iterator[NDArray[np.float64]]:
    match shape:
        case ConstantRate(rate):
            return (indexes / rate for indexes in _index_chunks())
        case PoissonRate(rate, seed):
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


def parse_concurrencies(text: str) -> tuple[int, ...]:
    """Read `8`, `1,4,16`, `1..64` (doubling) or `10..50:10` (even steps)."""
    values = _parse_sweep(text, "--concurrency", _doubling)
    if any(value != int(value) for value in values):
        raise UsageError(f"--concurrency {text}: a concurrency is a whole number")
    return tuple(int(value) for value in values)


def parse_rates(text: str) -> tuple[float, ...]:
    """Read `200`, `100,500`, `100..1000` (ten even steps) or `100..1000:50` (requests/s)."""
    return _parse_sweep(text, "--rate", _ten_steps)


def parse_ramp(text: str) -> tuple[float, float]:
    """Read `100..1000`: from the first rate to the last one (requests/s)."""
    first, separator, last = text.partition("..")
    if not separator:
        raise UsageError(f"--ramp {text}: not a ramp", hint="write it as FROM..TO, such as 100..1000")
    return _number(first, "--ramp", text, positive=False), _number(last, "--ramp", text)


def _number(text: str, option: str, whole: str, *, positive: bool = True) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{option} {whole}: {text!r} is not a number") from None
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise UsageError(f"{option} {whole}: {text} is not above 0")
    return value


def _parse_sweep(text: str, option: str, steps: Callable[[float, float], tuple[float, ...]]) -> tuple[float, ...]:
    if ".." not in text:
        return tuple(_number(part, option, text) for part in text.split(","))
    span, _, step = text.partition(":")
    first_text, _, last_text = span.partition("..")
    first, last = _number(first_text, option, text), _number(last_text, option, text)
    if last < first:
        raise UsageError(f"{option} {text}: the sweep ends below its start")
    return _even_steps(first, last, _number(step, option, text)) if step else steps(first, last)


def _even_steps(first: float, last: float, step: float) -> tuple[float, ...]:
    count = int((last - first) / step + 1e-9) + 1
    values = [first + index * step for index in range(count)]
    return tuple(values if math.isclose(values[-1], last) else [*values, last])


def _doubling(first: float, last: float) -> tuple[float, ...]:
    values = [first]
    while values[-1] * 2 < last:
        values.append(values[-1] * 2)
    return tuple(values if values[-1] == last else [*values, last])


def _ten_steps(first: float, last: float) -> tuple[float, ...]:
    if first == last:
        return (first,)
    return tuple(round(float(value), 6) for value in np.linspace(first, last, 10))
