"""Replay an autoscaler on a load curve: does it keep the objective, and does it hold still?

The load is split evenly over the ready replicas; a backlog stays with its replica. Replicas that started together are
alike for good, and others are once nothing that a metric still shows tells them apart: each kind is computed once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from serve_deploy.autoscaling.hpa import SYNC_SECONDS, Autoscaler, Controller, Pod
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import CONCURRENCY, GUARD_WINDOW_SECONDS, PENDING, RULE_SECONDS, SCRAPE_SECONDS

FINE_SECONDS, COARSE_SECONDS = 5.0, 15.0
# A day needs no finer steps than the autoscaler's own.
LONG_SECONDS = 6 * 3600.0
Curve = Callable[[float], float]


@dataclass(frozen=True)
class Delays:
    """Seconds until a new replica serves, the window that the concurrency is the mean of, and how late it is.

    `counts_unanswered` says that the guard is what came within its window less twice what was answered, as for token
    streams without gauges, rather than the requests that wait.
    """

    cold_start_seconds: float
    window_seconds: float = 60.0
    lag_seconds: float = 0.0
    counts_unanswered: bool = False

    @property
    def memory_seconds(self) -> float:
        """How long a measurement counts, until it is out of every window."""
        return self.window_seconds + self.lag_seconds + SCRAPE_SECONDS + RULE_SECONDS


@dataclass(frozen=True)
class Budget:
    """What a replay may cost: share of requests beyond the objective, turns an hour, seconds on end beyond it."""

    breach_fraction: float
    turns_per_hour: float
    longest_breach_seconds: float


@dataclass(frozen=True)
class Replay:
    """What happened: replicas over time as (second, replicas), from when they were asked for, and what it cost.

    `breach_seconds` is how long in all some requests missed the objective, the share of which is `breach_fraction`.
    """

    curve: str
    replicas: tuple[tuple[float, int], ...]
    breach_fraction: float
    turns_per_hour: float
    longest_breach_seconds: float
    breach_seconds: float = 0.0
    seconds: float = 0.0
    requests: float = 0.0

    @property
    def replica_hours(self) -> float:
        """What there was to pay for: replicas that are starting as well."""
        ends = [*(at for at, _ in self.replicas[1:]), self.seconds]
        return sum(count * (end - at) for (at, count), end in zip(self.replicas, ends, strict=True)) / 3600

    def within(self, budget: Budget) -> bool:
        """Whether it stayed in budget."""
        return (
            self.breach_fraction <= budget.breach_fraction
            and self.turns_per_hour <= budget.turns_per_hour
            and self.longest_breach_seconds <= budget.longest_breach_seconds
        )


@dataclass
class _Servers:
    """Replicas that are alike."""

    count: int
    ready_at: float
    backlog: float = 0.0
    # (second, requests in flight, requests waiting) as the metrics will show them
    history: deque[tuple[float, float, float]] = field(default_factory=deque)


def replay(
    name: str, curve: Curve, seconds: float, autoscaler: Autoscaler, replica: MeasuredReplica, delays: Delays
) -> Replay:
    """Run the autoscaler over a curve of requests per second; it starts with the replicas it would settle on."""
    start = _settled(curve(0.0), autoscaler, replica)
    fleet = [_Servers(start, ready_at=0.0)]
    controller = Controller(autoscaler)
    log = [(0.0, start)]
    requests = breached = breach_run = longest = breach_seconds = 0.0
    next_sync = float(SYNC_SECONDS)
    tick = FINE_SECONDS if seconds < LONG_SECONDS else COARSE_SECONDS
    for step in range(int(seconds / tick)):
        now = step * tick
        rate = curve(now)
        late = _serve(fleet, now, tick, rate, replica, delays)
        requests += rate * tick
        breached += late * tick
        breach_seconds += tick if late else 0.0
        breach_run = breach_run + tick if late else 0.0
        longest = max(longest, breach_run)
        if now >= next_sync:
            next_sync += SYNC_SECONDS
            _join_alike(fleet, now)
            pods = _pods(fleet, now, delays)
            current = _count(fleet)
            wanted = controller.sync(now, current, pods, _totals(pods)).replicas
            if wanted != current:
                _resize(fleet, wanted, now + delays.cold_start_seconds)
                log.append((now, wanted))
    share = breached / requests if requests else 0.0
    turns = _turns(log) / (seconds / 3600)
    return Replay(name, tuple(log), share, turns, longest, breach_seconds, seconds, requests)


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


def _settled(rate: float, autoscaler: Autoscaler, replica: MeasuredReplica) -> int:
    for count in range(autoscaler.min_replicas, autoscaler.max_replicas):
        share = rate / count
        target = autoscaler.metrics[0].target * (1 + autoscaler.scale_up.tolerance)
        if share < replica.capacity and replica.in_flight(share) <= target:
            return count
    return autoscaler.max_replicas


def _serve(
    fleet: list[_Servers], now: float, tick: float, rate: float, replica: MeasuredReplica, delays: Delays
) -> float:
    """Serve one step; the rate of requests that miss the objective."""
    ready = [servers for servers in fleet if servers.ready_at <= now]
    count = _count(ready)
    share = rate / count if count else 0.0
    steady = min(share, 0.98 * replica.capacity)
    steady_in_flight, steady_waiting = replica.in_flight(steady), replica.waiting(steady)
    late = 0.0
    if delays.counts_unanswered:
        steady_waiting = max(0.0, share - 2 * replica.capacity) * GUARD_WINDOW_SECONDS
    for servers in ready:
        servers.backlog = max(0.0, servers.backlog + (share - replica.capacity) * tick)
        late += share * servers.count if replica.misses(share, servers.backlog) else 0.0
        waiting = steady_waiting if delays.counts_unanswered else servers.backlog + steady_waiting
        servers.history.append((now, servers.backlog + steady_in_flight, waiting))
        while servers.history[0][0] < now - delays.memory_seconds:
            servers.history.popleft()
    return late if ready else rate


def _join_alike(fleet: list[_Servers], now: float) -> None:
    """Replicas whose backlog is the same, and whose history as far as the metrics show it, are alike from now on."""
    for later in range(len(fleet) - 1, 0, -1):
        one, other = fleet[later - 1], fleet[later]
        if other.ready_at <= now and one.backlog == other.backlog and one.history == other.history:
            one.count += other.count
            del fleet[later]


def _pods(fleet: list[_Servers], now: float, delays: Delays) -> list[Pod]:
    seen = now - SCRAPE_SECONDS - RULE_SECONDS
    pods = []
    for index, servers in enumerate(fleet):
        counted = seen - delays.lag_seconds
        window = [entry for entry in servers.history if counted - delays.window_seconds < entry[0] <= counted]
        guard = [entry for entry in servers.history if seen - GUARD_WINDOW_SECONDS < entry[0] <= seen]
        values = {}
        # A rate needs two samples.
        if window and window[-1][0] - window[0][0] >= SCRAPE_SECONDS:
            values[CONCURRENCY] = sum(entry[1] for entry in window) / len(window)
        if guard:
            values[PENDING] = sum(entry[2] for entry in guard) / len(guard)
        pods.append(Pod(f"pod-{index}", values=values, alike=servers.count))
    return pods


def _totals(pods: list[Pod]) -> dict[str, float]:
    """What KEDA reads: each metric's sum over the pods that have it."""
    return {
        metric: sum(pod.values.get(metric, 0.0) * pod.alike for pod in pods)
        for metric in (CONCURRENCY, PENDING)
        if any(metric in pod.values for pod in pods)
    }


def _count(fleet: list[_Servers]) -> int:
    return sum(servers.count for servers in fleet)


def _resize(fleet: list[_Servers], wanted: int, ready_at: float) -> None:
    """Start replicas, or end the youngest."""
    change = wanted - _count(fleet)
    if change > 0:
        fleet.append(_Servers(change, ready_at))
    while change < 0:
        ended = min(fleet[-1].count, -change)
        fleet[-1].count -= ended
        change += ended
        if not fleet[-1].count:
            fleet.pop()


def _turns(log: list[tuple[float, int]]) -> int:
    moves = [after - before for (_, before), (_, after) in pairwise(log)]
    return sum(1 for before, after in pairwise(moves) if (before > 0) != (after > 0))
