"""Replay an autoscaler on a load curve: does it keep the objective, and does it hold still?

Every replica is an M/D/c queue: `slots` requests are served at once, each in the same time, arrivals are Poisson.
Below capacity its state is the steady one (Erlang C for the waiting, halved because the service time is constant);
above, a backlog grows. The load is split evenly over the ready replicas; a backlog stays with its replica.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from serve_deploy.autoscaling import CONCURRENCY, PENDING
from serve_deploy.hpa import SYNC_SECONDS, Autoscaler, Controller, Pod

STEP_SECONDS = 5.0
Curve = Callable[[float], float]


@dataclass(frozen=True)
class Replica:
    """What one replica can do: requests served at once, and the seconds each of them takes."""

    slots: int
    service_seconds: float
    cold_start_seconds: float

    @property
    def capacity(self) -> float:
        """Requests per second at which it saturates."""
        return self.slots / self.service_seconds

    def waiting(self, rate: float) -> float:
        """Mean requests waiting at a rate below capacity."""
        load = rate / self.capacity
        return erlang_c(self.slots, load * self.slots) * load / (1 - load) / 2

    def p99_seconds(self, rate: float, backlog: float = 0.0) -> float:
        """The response time that 99 % stay below; a backlog is served first."""
        load = min(rate / self.capacity, 0.995)
        wait_probability = erlang_c(self.slots, load * self.slots)
        decay = 2 * (1 - load) * self.capacity
        wait = math.log(wait_probability / 0.01) / decay if wait_probability > 0.01 else 0.0
        return self.service_seconds + wait + backlog / self.capacity


@dataclass(frozen=True)
class Delays:
    """Seconds from an event to the autoscaler's sight of it, and the windows its metrics are averaged over."""

    scrape_seconds: float = 15.0
    rule_seconds: float = 15.0
    window_seconds: float = 60.0
    guard_window_seconds: float = 30.0


@dataclass(frozen=True)
class Budget:
    """What a replay may cost: share of requests served beyond the objective, and turns of direction an hour."""

    breach_fraction: float
    turns_per_hour: float


@dataclass(frozen=True)
class Replay:
    """What happened: replicas over time as (second, replicas), and what it cost."""

    curve: str
    replicas: tuple[tuple[float, int], ...]
    requests: float
    breach_fraction: float
    turns_per_hour: float
    replica_hours: float
    longest_breach_seconds: float

    def within(self, budget: Budget) -> bool:
        """Whether it stayed in budget."""
        return self.breach_fraction <= budget.breach_fraction and self.turns_per_hour <= budget.turns_per_hour


@dataclass
class _Server:
    ready_at: float
    backlog: float = 0.0
    # (second, requests in flight, requests waiting) as the metrics will show them
    history: deque[tuple[float, float, float]] = field(default_factory=deque)


def replay(
    name: str,
    curve: Curve,
    seconds: float,
    autoscaler: Autoscaler,
    replica: Replica,
    slo_seconds: float,
    delays: Delays,
) -> Replay:
    """Run the autoscaler over a curve of requests per second; it starts with the replicas it would settle on."""
    start = _settled(curve(0.0), autoscaler, replica)
    servers = [_Server(ready_at=0.0) for _ in range(start)]
    controller = Controller(autoscaler)
    log = [(0.0, start)]
    requests = breached = replica_seconds = breach_run = longest = 0.0
    next_sync = float(SYNC_SECONDS)
    for step in range(int(seconds / STEP_SECONDS)):
        now = step * STEP_SECONDS
        rate = curve(now)
        late = _serve(servers, now, rate, replica, slo_seconds, delays)
        requests += rate * STEP_SECONDS
        breached += late * STEP_SECONDS
        replica_seconds += len(servers) * STEP_SECONDS
        breach_run = breach_run + STEP_SECONDS if late else 0.0
        longest = max(longest, breach_run)
        if now >= next_sync:
            next_sync += SYNC_SECONDS
            wanted = controller.sync(now, len(servers), _pods(servers, now, delays)).replicas
            if wanted != len(servers):
                _resize(servers, wanted, now + replica.cold_start_seconds)
                log.append((now, wanted))
    return Replay(
        name, tuple(log), requests, breached / requests if requests else 0.0, _turns(log) / (seconds / 3600),
        replica_seconds / 3600, longest,
    )  # fmt: skip


def erlang_c(slots: int, offered: float) -> float:
    """The probability that a request must wait, at an offered load (in slots) below the slots."""
    if offered <= 0:
        return 0.0
    blocking = 1.0
    for busy in range(1, slots + 1):
        blocking = offered * blocking / (busy + offered * blocking)
    load = offered / slots
    return min(1.0, blocking / (1 - load * (1 - blocking)))


def step_curve(low: float, high: float, at: float) -> Curve:
    """A sudden rise."""
    return lambda second: low if second < at else high


def ramp_curve(low: float, high: float, start: float, growth_per_second: float) -> Curve:
    """A steady rise by a share of the load at the start each second, up to a ceiling."""
    return lambda second: min(high, low * (1 + growth_per_second * max(0.0, second - start)))


def daily_curve(low: float, high: float) -> Curve:
    """A day: lowest at its start, highest in its middle, with a lunchtime dip that tempts to scale down too soon."""

    def rate(second: float) -> float:
        day = 2 * math.pi * second / 86_400
        dip = 0.15 * math.exp(-(((second - 43_200) / 1_800) ** 2))
        return low + (high - low) * max(0.0, (1 - math.cos(day)) / 2 - dip)

    return rate


def _settled(rate: float, autoscaler: Autoscaler, replica: Replica) -> int:
    for count in range(autoscaler.min_replicas, autoscaler.max_replicas):
        share = rate / count
        if share < replica.capacity:
            flight = share * replica.service_seconds + replica.waiting(share)
            if flight <= autoscaler.metrics[0].target * (1 + autoscaler.scale_up.tolerance):
                return count
    return autoscaler.max_replicas


def _serve(
    servers: list[_Server], now: float, rate: float, replica: Replica, slo_seconds: float, delays: Delays
) -> float:
    """Serve one step; the rate of requests that miss the objective."""
    ready = [server for server in servers if server.ready_at <= now]
    share = rate / len(ready) if ready else 0.0
    late = 0.0
    for server in ready:
        steady = min(share, 0.98 * replica.capacity)
        served = min(replica.capacity, share + server.backlog / STEP_SECONDS)
        server.backlog = max(0.0, server.backlog + (share - replica.capacity) * STEP_SECONDS)
        waiting = server.backlog + replica.waiting(steady)
        late += share if replica.p99_seconds(share, server.backlog) > slo_seconds else 0.0
        server.history.append((now, served * replica.service_seconds + waiting, waiting))
        while server.history[0][0] < now - delays.window_seconds - delays.scrape_seconds - delays.rule_seconds:
            server.history.popleft()
    return late if ready else rate


def _pods(servers: list[_Server], now: float, delays: Delays) -> list[Pod]:
    seen = now - delays.scrape_seconds - delays.rule_seconds
    pods = []
    for index, server in enumerate(servers):
        window = [entry for entry in server.history if seen - delays.window_seconds < entry[0] <= seen]
        guard = [entry for entry in window if entry[0] > seen - delays.guard_window_seconds]
        values = {}
        if len(window) * STEP_SECONDS >= delays.scrape_seconds:
            values[CONCURRENCY] = sum(entry[1] for entry in window) / len(window)
        if guard:
            values[PENDING] = sum(entry[2] for entry in guard) / len(guard)
        pods.append(Pod(f"pod-{index}", values=values))
    return pods


def _resize(servers: list[_Server], wanted: int, ready_at: float) -> None:
    while len(servers) < wanted:
        servers.append(_Server(ready_at))
    del servers[wanted:]


def _turns(log: list[tuple[float, int]]) -> int:
    moves = [after - before for (_, before), (_, after) in pairwise(log)]
    return sum(1 for before, after in pairwise(moves) if (before > 0) != (after > 0))
