"""What a replica does with independent arrivals, by its twin: a sweep's users wait for their answers, traffic does not.

The twin's service times are those of the sweep, and it has to repeat the sweep before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.arrivals.shapes import ClosedLoop, PoissonRate
from serve_deploy.autoscaling.sweep import Load, MeasuredReplica
from serve_deploy.model_config.scheduler import not_simulated, read_served_model
from serve_deploy.reports.point import ModelStatistics, Point
from serve_deploy.reports.pooling import pool_batches
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import Outside, ServedModel, ServerModel, ServiceTimes, Times, simulate

# The difference in throughput up to which the twin is believed.
BELIEVED = 0.10
_REPEATED_SECONDS = 20.0
_TABLE_REQUESTS = 20_000
_LEVELS = (0.05, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.86, 0.92, 0.96)
_BUSY_ENOUGH = 0.75
_ENOUGH_EXECUTIONS = 5


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
    worst, where = max((_miss(built, load), load.asked) for load in loads if load.users)
    if worst > BELIEVED:
        return OpenReplica(None, f"the twin's throughput is {worst:.0%} off the sweep's at {where}")
    replica = _tabulate(built, slo_seconds)
    if replica is None:
        return OpenReplica(None, "the twin misses the objective at any rate")
    return OpenReplica(replica, f"by the twin, which repeats the sweep's throughput to {worst:.0%}")


def _miss(twin: ServerModel, load: Load) -> float:
    found = simulate(twin, ClosedLoop(load.users or 1), seconds=_REPEATED_SECONDS, warmup_seconds=1.0)
    return abs(found.stream.throughput / load.rate - 1)


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
    seen = [(point, stats) for point in report.points if (stats := _statistics(point))]
    light = [(point, stats) for point, stats in seen if point.load.concurrency == 1 and point.load.batch_size == 1]
    if not light or report.target.instances is None:
        return "the report lacks a load of one user, or the server's own figures of each batch size"
    point, stats = light[0]
    if sum(batch.executions for batch in stats.batches if batch.batch_size == 1) < _ENOUGH_EXECUTIONS:
        return "the sweep was too short to tell how long its batches take"
    service, largest = _service_times(seen, _spread(point, stats), report.target.instances)
    model = _up_to(read_served_model(config, service, report.target.instances), largest)
    delay = model.batching.max_queue_delay_seconds if model.batching else 0.0
    model = replace(model, dispatch_seconds=max(0.0, stats.queue_us / 1e6 - delay))
    beyond = max(0.0, point.response.mean_us / 1e6 - _compute_seconds(stats) - stats.queue_us / 1e6)
    # The load generator's process sends one request after another.
    sending = min(point.client.cpu_us_per_request / 1e6, beyond)
    outside = Outside(times=Times.constant(sending), workers=1, latency_seconds=beyond - sending)
    return ServerModel(models=(model,), outside=outside)


def _service_times(
    seen: Sequence[tuple[Point, ModelStatistics]], spread: Times, instances: int
) -> tuple[ServiceTimes, int]:
    """Times by batch size with one instance and with all of them busy, and the largest size that was seen."""
    crowded = _mean_seconds(stats for point, stats in seen if _busy(point, stats) > _BUSY_ENOUGH * instances)
    alone = _mean_seconds(stats for point, stats in seen if instances == 1 or point.load.concurrency == 1)
    sizes = sorted({*alone, *crowded})
    both = [size for size in sizes if size in alone and size in crowded]
    slowdown = max(1.0, crowded[both[0]] / alone[both[0]]) if instances > 1 and both else 1.0
    between = _between_executions(seen, sizes[-1], instances)
    measured = {}
    for size in sizes:
        measured[size, 1] = spread.times(alone.get(size, crowded.get(size, 0.0) / slowdown) + size * between)
        if slowdown > 1:
            crowd = crowded.get(size, alone.get(size, 0.0) * slowdown)
            measured[size, instances] = spread.times(crowd + size * between)
    return ServiceTimes(measured), sizes[-1]


def _between_executions(seen: Sequence[tuple[Point, ModelStatistics]], largest: int, instances: int) -> float:
    """Seconds a row that an instance is taken for beyond its executions, where a full batch always waited for it."""
    point, stats = max(seen, key=lambda each: each[0].load.concurrency or 0)
    if (point.load.concurrency or 0) < 2 * largest * instances:
        return 0.0
    taken = instances * point.duration_seconds / stats.executions
    return max(0.0, taken - _compute_seconds(stats)) / stats.average_batch_size


def _mean_seconds(accounts: Iterable[ModelStatistics]) -> dict[int, float]:
    """The mean time of an execution by batch size, where there were enough."""
    return {
        batch.batch_size: batch.compute_us / 1e6
        for batch in pool_batches(accounts)
        if batch.executions >= _ENOUGH_EXECUTIONS
    }


def _up_to(model: ServedModel, largest: int) -> ServedModel:
    """The model with batches no larger than were seen."""
    if largest >= model.max_batch_size or model.batching is None:
        return model
    preferred = tuple(size for size in model.batching.preferred_sizes if size <= largest)
    return replace(model, max_batch_size=largest, batching=replace(model.batching, preferred_sizes=preferred))


def _spread(point: Point, stats: ModelStatistics) -> Times:
    """How the service time varies around its mean, as a factor."""
    histogram = point.response.histogram
    if not histogram:
        return Times.constant(1.0)
    bounds, counts = zip(*histogram, strict=True)
    beyond = point.response.mean_us / 1e6 - _compute_seconds(stats)
    inside = Times.of([bound / 1e6 for bound in bounds], counts).less(beyond)
    return inside.times(1 / inside.mean) if inside.mean else Times.constant(1.0)


def _statistics(point: Point) -> ModelStatistics | None:
    return point.server[0] if len(point.server) == 1 and point.server[0].batches else None


def _compute_seconds(stats: ModelStatistics) -> float:
    return (stats.compute_input_us + stats.compute_infer_us + stats.compute_output_us) / 1e6


def _busy(point: Point, stats: ModelStatistics) -> float:
    return stats.executions * _compute_seconds(stats) / point.duration_seconds
