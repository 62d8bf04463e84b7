"""A sweep's points reduced to loads, and what they tell: the knee, and what is in flight and waits at a rate.

Rates are requests per second and concurrencies requests in flight, of one replica: what was measured is one replica.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from serve_deploy.errors import ThresholdError
from serve_deploy.reports.figures import format_plainly
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport

CLIENT_BOUND_DEVIATION = 0.10
ERROR_FRACTION = 0.001


@dataclass(frozen=True)
class Load:
    """One load of the sweep, its repeats reduced to their medians; concurrency and pending are means over time.

    `server_side` says that concurrency is the server's account (what the autoscaler will see), not the client's,
    which also counts requests on the wire. `cpu_cores` is what the server's processes used, where that is known.
    `users` is the concurrency that was asked for, of requests of one row; None of other loads.
    """

    asked: str
    rate: float
    concurrency: float
    p99_seconds: float
    mean_seconds: float
    pending: float | None
    server_side: bool
    cpu_cores: float | None = None
    users: int | None = None


@dataclass(frozen=True)
class MeasuredReplica:
    """One replica: (rate, requests in flight) up to saturation, and the knee.

    `waiting_points` is how many of these wait, where that is known.
    """

    points: tuple[tuple[float, float], ...]
    knee_rate: float
    waiting_points: tuple[float, ...] = ()

    @classmethod
    def of(cls, branch: Sequence[Load], knee: Load) -> MeasuredReplica:
        """The rising branch of a sweep."""
        return cls(tuple((load.rate, load.concurrency) for load in branch), knee.rate)

    @property
    def capacity(self) -> float:
        """The highest rate that was measured."""
        return self.points[-1][0]

    def in_flight(self, rate: float) -> float:
        """Requests in flight at a rate: between the points beside it, from nothing at no load."""
        return _between(self.points, rate)

    def waiting(self, rate: float) -> float:
        """What of these waits; where that is not known, what the lightest load's time does not account for."""
        if self.waiting_points:
            return _between(
                [(at, waiting) for (at, _), waiting in zip(self.points, self.waiting_points, strict=True)], rate
            )
        first_rate, first = self.points[0]
        return max(0.0, self.in_flight(rate) - rate * first / first_rate)

    def misses(self, rate: float, backlog: float) -> bool:
        """Beyond the knee the objective is missed; so it is behind any backlog, as that only forms beyond it."""
        return rate > self.knee_rate or backlog > 0


def _between(points: Sequence[tuple[float, float]], rate: float) -> float:
    low_rate, low = 0.0, 0.0
    for high_rate, high in points:
        if rate <= high_rate:
            return low + (high - low) * (rate - low_rate) / (high_rate - low_rate)
        low_rate, low = high_rate, high
    return low


def usable_loads(report: LoadTestReport) -> tuple[list[Load], tuple[str, ...]]:
    """The loads whose measurement is the server's, by rising rate, and why others were dropped."""
    kept: dict[str, list[Point]] = defaultdict(list)
    dropped = []
    for point in report.points:
        reason = _unusable(point)
        if reason:
            dropped.append(f"{_asked(point)}: {reason}")
        else:
            kept[_asked(point)].append(point)
    loads = [_reduce(asked, points, report.target.model) for asked, points in kept.items()]
    return sorted(loads, key=lambda load: load.rate), tuple(dropped)


def rising_branch(loads: Sequence[Load]) -> list[Load]:
    """The loads up to saturation, by rising concurrency: beyond it a server may serve less with more in flight."""
    rising: list[Load] = []
    for load in sorted(loads, key=lambda load: load.concurrency):
        if not rising or load.rate > rising[-1].rate:
            rising.append(load)
    return rising


def find_knee(loads: Sequence[Load], slo_seconds: float) -> Load:
    """The load of the highest throughput whose p99 keeps the objective; ThresholdError where none does."""
    within = [load for load in loads if load.p99_seconds <= slo_seconds]
    if not within:
        best = min(loads, key=lambda load: load.p99_seconds)
        raise ThresholdError(
            f"no measured load keeps p99 <= {format_plainly(slo_seconds * 1e3)} ms;"
            f" the best is {best.p99_seconds * 1e3:.1f} ms at {best.asked}",
            hint="more replicas do not help: relax `slo_p99_seconds`, or make the model faster",
        )
    return max(within, key=lambda load: load.rate)


def pending_guard(lightest: Load, knee: Load) -> tuple[float, str]:
    """Requests waiting at the knee, at least 1 so that a short burst does not count as a queue."""
    if knee.pending is not None:
        waiting, origin = knee.pending, "rate * queue time at the knee (Little's law), of every model involved"
    else:
        waiting = knee.rate * (knee.mean_seconds - lightest.mean_seconds)
        origin = "rate * (response time at the knee - at the lightest load): the server's queue time was not recorded"
    return max(1.0, waiting), origin if waiting >= 1 else f"{origin} is {waiting:.2f}; at least 1"


def _unusable(point: Point) -> str | None:
    if point.succeeded == 0:
        return "no request succeeded"
    failed = point.unsuccessful / point.ended
    if failed > ERROR_FRACTION:
        return f"{failed:.2%} of the requests failed"
    if point.client_bound:
        return f"client-bound ({', '.join(point.client_bound_reasons) or 'as the load generator said'})"
    if point.load.mode == "closed" and point.load.concurrency:
        asked = point.load.concurrency
        busy = point.request_rate * point.response.mean_us / 1e6
        if abs(asked - busy) / asked > CLIENT_BOUND_DEVIATION:
            return f"client-bound (asked for {asked} in flight, had {busy:.1f})"
    return None


def _asked(point: Point) -> str:
    load = point.load
    size = f", batch {load.batch_size}" if load.batch_size > 1 else ""
    if load.mode == "closed":
        return f"concurrency {load.concurrency}{size}"
    return f"{format_plainly(load.request_rate or 0)} requests/s{size}"


def _reduce(asked: str, points: Sequence[Point], model: str) -> Load:
    served = [concurrency for point in points if (concurrency := _served_concurrency(point, model))]
    pendings = [pending for point in points if (pending := _pending(point)) is not None]
    cores = [point.server_cpu_cores for point in points if point.server_cpu_cores is not None]
    return Load(
        asked,
        rate=median(point.request_rate for point in points),
        concurrency=median(served or [point.mean_in_flight for point in points]),
        p99_seconds=median(point.response.p99_us for point in points) / 1e6,
        mean_seconds=median(point.response.mean_us for point in points) / 1e6,
        pending=median(pendings) if pendings else None,
        server_side=bool(served),
        cpu_cores=max(cores) if cores else None,
        users=points[0].load.concurrency if points[0].load.batch_size == 1 else None,
    )


def _served_concurrency(point: Point, model: str) -> float | None:
    """Requests in flight inside the server by Little's law; None for an ensemble, whose members hold its queues."""
    for stats in point.server:
        if stats.model == model and len(point.server) == 1:
            busy_us = stats.queue_us + stats.compute_input_us + stats.compute_infer_us + stats.compute_output_us
            return point.request_rate * busy_us / 1e6 or None
    return None


def _pending(point: Point) -> float | None:
    if point.server:
        return sum(stats.requests * stats.queue_us for stats in point.server) / 1e6 / point.duration_seconds
    return point.pending
