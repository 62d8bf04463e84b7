"""What the parent and its generator processes say to each other, and how it travels."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.endpoint.address import Endpoint
from serve_deploy.loadtest.clients.recorder import Kind
from serve_deploy.loadtest.requests.source import RequestSource

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What stays the same through a run: sent once, before its first period."""

    endpoint: Endpoint
    source: RequestSource
    timeout_seconds: float
    validate: bool
    streaming: bool
    worker: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class PeriodPlan:
    """One measurement (or warm-up): `start` is a time of the monotonic clock, the same for all workers.

    What an open loop could not send in time may still be sent for `backlog_seconds` after the duration.
    """

    shape: LoadShape
    start: float
    duration_seconds: float
    backlog_seconds: float
    requests: int | None
    connections: int
    seed: int


@dataclass(frozen=True)
class Prepare:
    """Open the slots that a load needs, and say when that is done."""

    shape: LoadShape
    connections: int


@dataclass(frozen=True)
class Stop:
    """End the current period at once."""


@dataclass(frozen=True)
class Leave:
    """The run is over: close its connections. Another job may follow."""


@dataclass(frozen=True)
class Prepared:
    """The slots are open; or, with a reason, they could not be opened."""

    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class PeriodEnd:
    """What a worker says of its period at its end; `unfinished` is when each request was sent that has not ended."""

    cpu_seconds: float
    wall_seconds: float
    starved_seconds: float
    kinds: tuple[Kind, ...]
    unfinished: tuple[float, ...]
    lost: bool
    ran_out_of_connections: bool

    @property
    def cpu_fraction(self) -> float:
        """The share of a core that the worker used."""
        return self.cpu_seconds / self.wall_seconds


def frame(message: object) -> bytes:
    """A message as it travels: its length, then the pickle."""
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


def unframe(buffer: bytearray) -> list[Any]:
    """Take the whole messages out of what was received so far."""
    messages = []
    while len(buffer) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer)
        if len(buffer) < _LENGTH.size + length:
            break
        # What we unpickle was pickled by the process that we started, or that started us.
        messages.append(pickle.loads(memoryview(buffer)[_LENGTH.size : _LENGTH.size + length]))  # noqa: S301
        del buffer[: _LENGTH.size + length]
    return messages
