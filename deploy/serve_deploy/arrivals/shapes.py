"""The loads that a server is asked to bear: a closed loop of users, or arrivals that wait for nobody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClosedLoop:
    """`concurrency` requests in flight: each reply sends the next request."""

    concurrency: int


@dataclass(frozen=True)
class SharedLoop(ClosedLoop):
    """A model's part of a closed loop whose users call several: its turns, by its number, of the round `order`."""

    order: tuple[int, ...]
    number: int


@dataclass(frozen=True)
class ConstantRate:
    """One request every 1/rate seconds."""

    rate: float


@dataclass(frozen=True)
class PoissonRate:
    """Independent arrivals: exponential gaps of mean 1/rate seconds; the same seed gives the same arrivals."""

    rate: float


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
