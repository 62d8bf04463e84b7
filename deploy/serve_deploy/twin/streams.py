"""Requests on their way to the server: open loops ahead of time, closed loops as answers come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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
    """The way to the server and back: each request takes one of the measured times.

    Where workers are few, an answer waits for one of them: those of a batch end at once, and come one after another.
    """

    def __init__(self, outside: Outside, generator: np.random.Generator) -> None:
        self._seconds: list[float] = outside.times.quantiles[draw_levels(generator)].tolist()
        self._free_at = [0.0] * outside.workers if outside.workers else None
        self._latency = outside.latency_seconds
        self._passed = 0
        self.takes_time = outside.times.mean > 0 or self._latency > 0
        self.queues = self._free_at is not None and outside.times.mean > 0

    def arrival(self, sent: float) -> float:
        """When a request that is sent now enters its queue."""
        return sent + self._latency + (0.0 if self.queues else self._take())

    def answer(self, ended: float) -> float:
        """When the answer to a request that ends now is there; calls come in the order of their times."""
        if not self.queues or self._free_at is None:
            return ended
        at = max(ended, self._free_at[0]) + self._take()
        heapq.heapreplace(self._free_at, at)
        return at

    def _take(self) -> float:
        taken = self._seconds[self._passed % len(self._seconds)]
        self._passed += 1
        return taken


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

    def enter(self, way: Way, requests: Requests) -> Seconds:
        """Send all; returns when each enters its queue, ascending."""
        arrivals = np.array([way.arrival(sent) for sent in self.sent.tolist()]) if way.takes_time else self.sent
        order = np.argsort(arrivals, kind="stable")
        self.sent, arrivals = self.sent[order], arrivals[order]
        self.first = len(requests.entered)
        requests.entered += arrivals.tolist()
        numbers = self.numbers.tolist()
        if self._priority:
            requests.priorities |= dict.fromkeys(numbers, self._priority)
        if way.queues:
            requests.waiting_for |= dict.fromkeys(numbers, partial(_answer, way, requests))
        return arrivals


def _answer(way: Way, requests: Requests, now: float, number: int, _: bool) -> None:
    requests.answered[number] = way.answer(now)


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

    def _answer(self, now: float, number: int, succeeded: bool) -> None:
        answered = self._requests.answered[number] = self._way.answer(now)
        if not succeeded and not self._way.takes_time:
            answered += _REFUSED_SECONDS
        if answered > now:
            self._clock.at(answered, self._send)
        else:
            self._send(now)

    def _send(self, now: float, _: object = None) -> None:
        if now >= self._span.seconds or len(self._sent) == self._span.requests:
            return
        arrival = self._way.arrival(now)
        number = self._requests.add(arrival, self._answer, self._priority)
        self._clock.at(arrival, self._arrivals[len(self._sent) % len(self._arrivals)], number)
        self._sent.append(now)
        self._numbers.append(number)
