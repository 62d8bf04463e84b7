"""Requests on their way to the server: open loops ahead of time, closed loops as answers come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deploy.arrivals.schedule import Schedule
from serve_deploy.arrivals.shapes import OpenLoop, Ramp
from serve_deploy.errors import UsageError
from serve_deploy.twin.clock import Clock, Requests
from serve_deploy.twin.server import Outside
from serve_deploy.twin.stations import Node
from serve_deploy.twin.times import draw_levels

Seconds = NDArray[np.float64]
# A user who is refused and asks again at once would do so without end while no time passes.
_REFUSED_SECONDS = 0.001


@dataclass(frozen=True)
class Span:
    """How long a stream sends: seconds, or requests, whichever comes first."""

    seconds: float
    requests: int | None


class Way:
    """The way to the server: each request takes one of the measured times, and one of the workers if they are few."""

    def __init__(self, outside: Outside, generator: np.random.Generator) -> None:
        self._seconds: list[float] = outside.times.quantiles[draw_levels(generator)].tolist()
        self._free_at = [0.0] * outside.workers if outside.workers else None
        self._latency = outside.latency_seconds
        self._passed = 0
        self.takes_time = outside.times.mean > 0 or self._latency > 0

    def arrival(self, sent: float) -> float:
        """When a request that is sent now enters its queue; calls come in the order of their times."""
        taken = self._seconds[self._passed % len(self._seconds)]
        self._passed += 1
        if self._free_at is None:
            return sent + taken + self._latency
        end = max(sent, self._free_at[0]) + taken
        heapq.heapreplace(self._free_at, end)
        return end + self._latency


class OpenStream:
    """Arrivals that wait for nobody."""

    def __init__(self, load: OpenLoop, priority: int, span: Span, seed: int) -> None:
        if isinstance(load, Ramp) and not np.isfinite(span.seconds):
            raise UsageError("a ramp needs seconds")
        schedule = Schedule(load, span.seconds, requests=span.requests, seed=seed)
        self.sent: Seconds = np.concatenate([*schedule, np.zeros(0)])
        self.first = 0
        self._priority = priority

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Its requests."""
        return np.arange(self.first, self.first + len(self.sent))

    def enter(self, arrivals: Seconds, requests: Requests) -> Seconds:
        """Note when each enters its queue; returns that ascending."""
        order = np.argsort(arrivals, kind="stable")
        self.sent, arrivals = self.sent[order], arrivals[order]
        self.first = len(requests.entered)
        requests.entered += arrivals.tolist()
        if self._priority:
            requests.priorities |= dict.fromkeys(self.numbers.tolist(), self._priority)
        return arrivals


def pass_all(streams: Sequence[OpenStream], way: Way) -> list[Seconds]:
    """When each request of each stream arrives: they take turns at the workers as they are sent."""
    if not way.takes_time:
        return [stream.sent for stream in streams]
    sent = np.concatenate([*(stream.sent for stream in streams), np.zeros(0)])
    arrivals, order = np.zeros(len(sent)), np.argsort(sent, kind="stable")
    arrivals[order] = [way.arrival(at) for at in sent[order].tolist()]
    return np.split(arrivals, np.cumsum([len(stream.sent) for stream in streams])[:-1]) if len(streams) else []


class ClosedStream:
    """Users that send their next request as soon as they are answered, to one node after the other."""

    def __init__(
        self, users: int, priority: int, span: Span, nodes: Sequence[Node], way: Way, clock: Clock, requests: Requests
    ) -> None:
        self._users, self._priority = users, priority
        self._span, self._way = span, way
        self._arrivals = [node.arrive for node in nodes]
        self._clock, self._requests = clock, requests
        self._sent: list[float] = []
        self._numbers: list[int] = []

    @property
    def sent(self) -> Seconds:
        """When each was sent."""
        return np.array(self._sent, np.float64)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Its requests."""
        return np.array(self._numbers, np.int64)

    def start(self) -> None:
        """Send each user's first request."""
        for _ in range(self._users):
            self._send(0.0)

    def _send(self, now: float, _: int = 0, succeeded: bool = True) -> None:
        if not succeeded and not self._way.takes_time:
            now += _REFUSED_SECONDS
        if now >= self._span.seconds or len(self._sent) == self._span.requests:
            return
        arrival = self._way.arrival(now)
        number = self._requests.add(arrival, self._send, self._priority)
        self._clock.at(arrival, self._arrivals[len(self._sent) % len(self._arrivals)], number)
        self._sent.append(now)
        self._numbers.append(number)
