"""A sweep's points reduced to loads, and what they tell: the knee, and what is in flight and waits at a rate.

Rates are requests per second and concurrencies requests in flight, of one replica: what was measured is one replica.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from serve_deploy.errors import ThresholdError
from serve_deploy.model_config.ensemble_graph import is_itself_decoupled
from serve_deploy.model_config.scheduling import read_scheduling
from serve_deploy.reports.figures import format_plainly, format_share
from serve_deploy.reports.gates import Gate, evaluate_gate
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats
from serve_deploy.reports.report import LoadTestReport

CLIENT_BOUND_DEVIATION = 0.10
ERROR_FRACTION = 0.001
_NO_ACCOUNT: dict[str, object] = {"server": (), "pending": None}
_WATTS = "nv_gpu_power_usage"
_NO_QUEUE_TIME = ": the server's queue time was not recorded"


@dataclass(frozen=True)
class Load:
    """One load of the sweep, its repeats reduced to their medians; concurrency and pending are means over time.

    `server_side` says that concurrency is the server's account (what the autoscaler will see), not the client's,
    which also counts requests on the wire. `cpu_cores` is what the server's processes used, where that is known.
    Of token streams `mean_seconds` is the time to the first token, and the server's account, which ends before it, does
    not count. `missed` are the objectives that the load did not meet, each with what was measured.
    `users` is the concurrency that was asked for, of requests of one row; None of other loads. `inferences` and
    `output_tokens` are those of one request; `watts` is what the server's GPUs drew, where Triton measured that.
    """

    asked: str
    rate: float
    concurrency: float
    p99_seconds: float
    mean_seconds: float
    pending: float | None
    server_side: bool
    cpu_cores: float | None = None
    streams: bool = False
    missed: tuple[str, ...] = ()
    users: int | None = None
    inferences: float = 1.0
    output_tokens: float | None = None
    watts: float | None = None


@dataclass(frozen=True)
class MeasuredReplica:
    """One replica: (rate, requests in flight) up to saturation, and the knee.

    `queue` is (rate, requests waiting), where that is known or does not follow from the points: requests of a language
    model take longer in company without waiting.
    """

    points: tuple[tuple[float, float], ...]
    knee_rate: float
    queue: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, branch: Sequence[Load], knee: Load) -> MeasuredReplica:
        """The rising branch of a sweep."""
        queue = tuple(
            (load.rate, max(0.0, load.rate * (load.mean_seconds - branch[0].mean_seconds))) for load in branch
        )
        points = tuple((load.rate, load.concurrency) for load in branch)
        return cls(points, knee.rate, queue if knee.streams else ())

    @property
    def capacity(self) -> float:
        """The highest rate that was measured."""
        return self.points[-1][0]

    def in_flight(self, rate: float) -> float:
        """Requests in flight at a rate: between the points beside it, from nothing at no load."""
        return _interpolate(self.points, rate)

    def waiting(self, rate: float) -> float:
        """What is in flight beyond those that the lightest load's service time accounts for."""
        if self.queue:
            return _interpolate(self.queue, rate)
        first_rate, first = self.points[0]
        return max(0.0, self.in_flight(rate) - rate * first / first_rate)

    def misses(self, rate: float, backlog: float) -> bool:
        """Beyond the knee the objective is missed; so it is behind any backlog, as that only forms beyond it."""
        return rate > self.knee_rate or backlog > 0


def _interpolate(points: Sequence[tuple[float, float]], rate: float) -> float:
    low_rate, low = 0.0, 0.0
    for high_rate, high in points:
        if rate <= high_rate:
            return low + (high - low) * (rate - low_rate) / (high_rate - low_rate)
        low_rate, low = high_rate, high
    return low


def usable_loads(report: LoadTestReport, gates: Sequence[Gate] = ()) -> tuple[list[Load], tuple[str, ...]]:
    """The loads whose measurement is the server's, by rising rate, and why others were dropped.

    Of a decoupled model the server's own account, which ends before the answers do, does not count.
    """
    kept: dict[str, list[Point]] = defaultdict(list)
    dropped = []
    config = read_scheduling(report.target.scheduling)
    is_decoupled = config is not None and is_itself_decoupled(config)
    for point in report.points:
        reason = _unusable(point)
        if reason:
            dropped.append(f"{_asked(point)}: {reason}")
        else:
            kept[_asked(point)].append(point.model_copy(update=_NO_ACCOUNT) if is_decoupled else point)
    if not report.complete:
        dropped.append(f"further loads: the load test was cut short ({report.interrupted_reason or 'it says not why'})")
    loads = [_reduce(asked, points, report.target.model, gates) for asked, points in kept.items()]
    return sorted(loads, key=lambda load: load.rate), tuple(dropped)


def rising_branch(loads: Sequence[Load]) -> list[Load]:
    """The loads up to saturation, by rising concurrency: beyond it a server may serve less with more in flight."""
    rising: list[Load] = []
    for load in sorted(loads, key=lambda load: load.concurrency):
        if not rising or load.rate > rising[-1].rate:
            rising.append(load)
    return rising


def find_knee(loads: Sequence[Load], slo_seconds: float) -> Load:
    """The load of the highest throughput that keeps every objective; ThresholdError where none does."""
    within = [load for load in loads if load.p99_seconds <= slo_seconds and not load.missed]
    if not within and all(load.missed for load in loads):
        best = min(loads, key=lambda load: (len(load.missed), load.concurrency))
        unjudged = any("cannot be judged" in text for text in best.missed)
        raise ThresholdError(
            f"no measured load keeps the objectives; {best.asked} comes nearest with {' and '.join(best.missed)}",
            hint="sweep again with what is missing, such as `objectives` for goodput"
            if unjudged
            else "more replicas do not help: relax `slo`, sweep from a lighter load, or make the model faster",
        )
    if not within:
        best = min(loads, key=lambda load: load.p99_seconds)
        raise ThresholdError(
            f"no measured load keeps p99 <= {format_plainly(slo_seconds * 1e3)} ms;"
            f" the best is {best.p99_seconds * 1e3:.1f} ms at {best.asked}",
            hint="more replicas do not help: relax `slo`, or make the model faster",
        )
    return max(within, key=lambda load: load.rate)


def pending_guard(lightest: Load, knee: Load) -> tuple[float, str]:
    """Requests waiting at the knee, at least 1 so that a short burst does not count as a queue."""
    if knee.pending is not None:
        waiting, origin = knee.pending, "rate * queue time at the knee (Little's law), of every model involved"
    else:
        waiting = knee.rate * (knee.mean_seconds - lightest.mean_seconds)
        what, why = ("time to first token", "") if knee.streams else ("response time", _NO_QUEUE_TIME)
        origin = f"rate * ({what} at the knee - at the lightest load){why}"
    return max(1.0, waiting), origin if waiting >= 1 else f"{origin} is {waiting:.2f}; at least 1"


def _unusable(point: Point) -> str | None:
    if point.succeeded == 0:
        return "no request succeeded"
    failed = point.unsuccessful / point.ended
    if failed > ERROR_FRACTION:
        return f"{format_share(failed)} of the requests failed"
    if point.client_bound:
        return f"client-bound ({', '.join(point.client_bound_reasons) or 'as the load generator said'})"
    if point.load.mode == "closed" and point.load.concurrency and not point.load.shared_by:
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


def _reduce(asked: str, points: Sequence[Point], model: str, gates: Sequence[Gate]) -> Load:
    first_tokens = [point.generation.time_to_first_token.mean_us for point in points if point.generation]
    counted = [] if first_tokens else points
    served = [concurrency for point in counted if (concurrency := _served_concurrency(point, model))]
    pendings = [pending for point in counted if (pending := _pending(point)) is not None]
    judged = [evaluate_gate(gate, pool_repeats(points)) for gate in gates]
    cores = [point.server_cpu_cores for point in points if point.server_cpu_cores is not None]
    tokens = [point.generation.output_tokens / point.succeeded for point in points if point.generation]
    watts = [point.server_metrics[_WATTS] for point in points if _WATTS in point.server_metrics]
    return Load(
        asked,
        rate=median(point.request_rate for point in points),
        concurrency=median(served or [point.mean_in_flight for point in points]),
        p99_seconds=median(point.response.p99_us for point in points) / 1e6,
        mean_seconds=median(first_tokens or [point.response.mean_us for point in points]) / 1e6,
        pending=median(pendings) if pendings else None,
        server_side=bool(served),
        cpu_cores=max(cores) if cores else None,
        streams=bool(first_tokens),
        missed=tuple(f"{result.expression}: {result.explanation}" for result in judged if not result.passed),
        users=points[0].load.concurrency if points[0].load.batch_size == 1 else None,
        inferences=points[0].load.batch_size,
        output_tokens=median(tokens) if tokens else None,
        watts=median(watts) if watts else None,
    )


def _served_concurrency(point: Point, model: str) -> float | None:
    """Requests in flight inside the server by Little's law; None for an ensemble, whose members hold its queues."""
    for stats in point.server:
        if stats.model == model and len(point.server) == 1:
            return point.request_rate * stats.inside_us / 1e6 or None
    return None


def _pending(point: Point) -> float | None:
    if point.server:
        return sum(stats.requests * stats.queue_us for stats in point.server) / 1e6 / point.duration_seconds
    return point.pending
