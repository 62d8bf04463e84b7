"""What a replica does with independent arrivals, by its twin: a sweep's users wait for their answers, traffic does not.

The twin's service times are those of the sweep, and it has to repeat the sweep before it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.arrivals.shapes import ClosedLoop, PoissonRate
from serve_deploy.autoscaling.sweep import Load, MeasuredReplica
from serve_deploy.calibration.accuracy import ModelAtWork, Reached, explain, list_misses
from serve_deploy.calibration.fit import FEWEST, fit
from serve_deploy.model_config.scheduler import not_simulated, read_served_model
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import ServedModel, ServerModel, Simulated, simulate

# The difference in throughput up to which the twin is believed.
BELIEVED = 0.10
_REPEATED_SECONDS = 20.0
_TABLE_REQUESTS = 20_000
_COLLAPSE = 0.9
# Requests in a moment that make a p99.
_SAID = 100
_LEVELS = (0.05, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.86, 0.92, 0.96)


@dataclass(frozen=True)
class OpenReplica:
    """A replica under independent arrivals: None where there is no twin; and what is to be said of either."""

    replica: MeasuredReplica | None
    explanation: str


def replay_openly(report: LoadTestReport, loads: Sequence[Load], config: Any, slo_seconds: float | None) -> OpenReplica:
    """Tabulate a replica by its twin, unless the report does not allow one or the twin does not repeat the sweep.

    `loads` are the report's usable ones up to saturation, and `config` the ModelConfig that was measured, or None.
    An objective that nobody asked for (None) is one of the sweep's users: independent arrivals are not held to it.
    """
    if slo_seconds is None:
        return OpenReplica(None, "the objective is taken from them")
    built = build_twin(report, config)
    if isinstance(built, str):
        return OpenReplica(None, built)
    repeated = [_Repeated.of(built, point) for point in _bearable(report.points) if point.load.concurrency]
    told = {load.users: load.asked for load in loads if load.users}
    worst = max((each for each in repeated if each.users in told), key=lambda each: each.miss)
    if worst.miss > BELIEVED:
        return OpenReplica(
            None,
            f"the twin's throughput is {100 * worst.miss:.0f} % off the sweep's at {told[worst.users]}: "
            f"{worst.reasons}",
        )
    replica = _tabulate(built, slo_seconds)
    if replica is None:
        return OpenReplica(None, "the twin misses the objective at any rate")
    explanation = f"by the twin, which repeats the sweep's throughput to {100 * worst.miss:.0f} %"
    off = [f"{', '.join(each.off)} at {told[each.users]}: {each.reasons}" for each in repeated if each.is_off(told)]
    return OpenReplica(replica, f"{explanation}, but is off ({'; '.join(off)})" if off else explanation)


@dataclass(frozen=True)
class _Repeated:
    """A load of the sweep on the twin: by how much its throughput differs, which figures are off, and why."""

    users: int
    miss: float
    off: tuple[str, ...]
    reasons: str

    @classmethod
    def of(cls, twin: ServerModel, point: Point) -> _Repeated:
        users = point.load.concurrency or 1
        found = simulate(twin, ClosedLoop(users), seconds=_REPEATED_SECONDS, warmup_seconds=1.0)
        response = found.stream.response
        simulated = Reached(found.stream.throughput, *(response.percentile(each) * 1e6 for each in (50, 99)))
        measured = Reached(point.throughput, point.response.p50_us, point.response.p99_us)
        off = list_misses(simulated, measured)
        miss = abs(simulated.throughput / measured.throughput - 1)
        return cls(users, miss, off, "; ".join(explain_load(twin, point, found)) if off else "")

    def is_off(self, told: Mapping[int, str]) -> bool:
        """Whether times are, at a load that counts."""
        return bool(self.off) and self.users in told


def explain_load(twin: ServerModel, point: Point, found: Simulated) -> tuple[str, ...]:
    """Why the twin of one model was off under a load, as far as the measurement tells."""
    p99s = [each.response_p99_us for each in point.timeline if each.succeeded >= _SAID]
    work = []
    for model in twin.models if len(twin.models) == 1 else ():
        known = max(size for size, _ in model.service.measured)
        alone = point.load.concurrency == 1 or not model.service.contend
        executed = [each for each in _SweptLoad.of(point).executions if each.batch_size <= known]
        busy = 1 if alone else model.instances
        work.append(ModelAtWork(executed, model.service, busy, found.model.mean_batch_size))
    return explain(point, work, p99s, "within the load")


def _tabulate(twin: ServerModel, slo_seconds: float) -> MeasuredReplica | None:
    (model,) = twin.models
    users = 4 * model.max_batch_size * model.instances
    capacity = simulate(twin, ClosedLoop(users), seconds=_REPEATED_SECONDS).stream.throughput
    rates = [level * capacity for level in _LEVELS]
    # Traffic has many clients, and not one process that sends.
    twin = replace(twin, outside=replace(twin.outside, workers=None))
    found = [simulate(twin, PoissonRate(rate), requests=_TABLE_REQUESTS) for rate in rates]
    knee = _last_within(rates, [each.stream.response.percentile(99) for each in found], slo_seconds)
    if knee is None:
        return None
    in_flight = tuple(zip(rates, (each.model.mean_in_flight for each in found), strict=True))
    queue = tuple(zip(rates, (each.model.mean_waiting for each in found), strict=True))
    return MeasuredReplica(in_flight, knee, queue)


def _last_within(rates: Sequence[float], p99s: Sequence[float], slo_seconds: float) -> float | None:
    """The highest rate whose p99 keeps the objective, between two rates on a straight line; None where none does."""
    within = [index for index, p99 in enumerate(p99s) if p99 <= slo_seconds]
    if not within or within[-1] == len(rates) - 1:
        return rates[-1] if within else None
    last = within[-1]
    share = (slo_seconds - p99s[last]) / (p99s[last + 1] - p99s[last])
    return rates[last] + share * (rates[last + 1] - rates[last])


def build_twin(report: LoadTestReport, config: Any) -> ServerModel | str:
    """The twin of the model that was swept, or why there is none."""
    if any(point.generation for point in report.points):
        return "token streams are not simulated"
    if config is None:
        return "its configuration is not known"
    reason = not_simulated(config)
    if reason:
        return reason
    periods = [_SweptLoad.of(point) for point in _bearable(report.points)]
    light = next((each for each in periods if each.point.load.concurrency == 1 and each.executions), None)
    instances = report.target.instances
    if light is None or instances is None:
        return "the report lacks a load of one user, or the server's own figures of each batch size"
    if sum(each.count for each in light.executions if each.batch_size == 1) < FEWEST:
        return "the sweep was too short to tell how long its batches take"
    largest = max(each.batch_size for period in periods for each in period.executions if each.count >= FEWEST)
    fitted = fit({instances: periods}, largest)
    model = _up_to(read_served_model(config, fitted.times, instances), largest)
    delay = model.batching.max_queue_delay_seconds if model.batching else 0.0
    model = replace(model, dispatch_seconds=max(0.0, fitted.dispatch_seconds - delay))
    return ServerModel(models=(model,), outside=fitted.outside)


def _bearable(points: Sequence[Point]) -> list[Point]:
    """Without the loads beyond the one that served most that served far less: there the clients took the CPU."""
    swept = [point for point in points if point.load.batch_size == 1 and len(point.server) == 1]
    best = max(swept, key=lambda point: point.throughput, default=None)
    return [
        point
        for point in swept
        if best is None
        or (point.load.concurrency or 0) <= (best.load.concurrency or 0)
        or point.throughput > _COLLAPSE * best.throughput
    ]


@dataclass(frozen=True)
class _Executions:
    batch_size: int
    count: int
    mean_seconds: float


@dataclass(frozen=True)
class _SweptLoad:
    """A load of the sweep as the fit reads it."""

    point: Point
    executions: tuple[_Executions, ...]

    @classmethod
    def of(cls, point: Point) -> _SweptLoad:
        batches = point.server[0].batches
        executions = (_Executions(each.batch_size, each.executions, each.compute_us / 1e6) for each in batches)
        return cls(point, tuple(executions))


def _up_to(model: ServedModel, largest: int) -> ServedModel:
    """The model with batches no larger than were seen."""
    if largest >= model.max_batch_size or model.batching is None:
        return model
    preferred = tuple(size for size in model.batching.preferred_sizes if size <= largest)
    return replace(model, max_batch_size=largest, batching=replace(model.batching, preferred_sizes=preferred))
