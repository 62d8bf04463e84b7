"""One replica as a queue: a steady state below its capacity; above, a backlog grows.

`QueueReplica` is M/D/c: `slots` requests at once, each in the same time, Poisson arrivals (Erlang C for the waiting,
halved because the service time is constant). `MeasuredReplica` takes the steady state from a sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Replica(Protocol):
    """What one replica does at a rate of requests per second below its capacity."""

    @property
    def capacity(self) -> float:
        """Requests per second at which it saturates."""

    def in_flight(self, rate: float) -> float:
        """Mean requests inside it."""

    def waiting(self, rate: float) -> float:
        """Mean requests that wait inside it."""

    def misses(self, rate: float, backlog: float) -> bool:
        """Whether the p99 misses the objective at a rate (any), behind a backlog of requests."""


@dataclass(frozen=True)
class QueueReplica:
    """An M/D/c queue: requests served at once, the seconds each of them takes, and the objective for the p99."""

    slots: int
    service_seconds: float
    slo_seconds: float

    @property
    def capacity(self) -> float:
        """Requests per second at which it saturates."""
        return self.slots / self.service_seconds

    def in_flight(self, rate: float) -> float:
        """Those being served and those waiting."""
        return rate * self.service_seconds + self.waiting(rate)

    def waiting(self, rate: float) -> float:
        """Mean requests waiting: half of what M/M/c would have."""
        load = rate / self.capacity
        return erlang_c(self.slots, load * self.slots) * load / (1 - load) / 2

    def p99_seconds(self, rate: float, backlog: float = 0.0) -> float:
        """The response time that 99 % stay below; a backlog is served first."""
        load = min(rate / self.capacity, 0.995)
        wait_probability = erlang_c(self.slots, load * self.slots)
        decay = 2 * (1 - load) * self.capacity
        wait = math.log(wait_probability / 0.01) / decay if wait_probability > 0.01 else 0.0
        return self.service_seconds + wait + backlog / self.capacity

    def misses(self, rate: float, backlog: float) -> bool:
        """Whether the p99 is beyond the objective."""
        return self.p99_seconds(rate, backlog) > self.slo_seconds


@dataclass(frozen=True)
class MeasuredReplica:
    """A replica as a sweep saw it: (rate, requests in flight) up to saturation, and the knee under the objective."""

    points: tuple[tuple[float, float], ...]
    knee_rate: float
    service_seconds: float

    @property
    def capacity(self) -> float:
        """The highest rate that was measured."""
        return self.points[-1][0]

    def in_flight(self, rate: float) -> float:
        """Between the points beside the rate, from nothing at no load."""
        low_rate, low = 0.0, 0.0
        for high_rate, high in self.points:
            if rate <= high_rate:
                return low + (high - low) * (rate - low_rate) / (high_rate - low_rate)
            low_rate, low = high_rate, high
        return low

    def waiting(self, rate: float) -> float:
        """What is in flight beyond those that would be, did nobody wait."""
        return max(0.0, self.in_flight(rate) - rate * self.service_seconds)

    def misses(self, rate: float, backlog: float) -> bool:
        """Beyond the knee the objective is missed; so it is behind any backlog, as that only forms beyond it."""
        return rate > self.knee_rate or backlog > 0


def erlang_c(slots: int, offered: float) -> float:
    """The probability that a request must wait, at an offered load (in slots) below the slots."""
    if offered <= 0:
        return 0.0
    blocking = 1.0
    for busy in range(1, slots + 1):
        blocking = offered * blocking / (busy + offered * blocking)
    load = offered / slots
    return min(1.0, blocking / (1 - load * (1 - blocking)))
