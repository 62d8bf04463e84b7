"""One period's measurement as a point of the report, and whether it says something about the server. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from serve_deploy.loadtest.measurements.measurement import Measurement
from serve_deploy.loadtest.workers.messages import PeriodEnd
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import ClientCost, Load, ModelStatistics, Point

_SLIP_BUDGET_US = 1000.0
_SLIP_SHARE = 0.1
_BUSY = 0.85
_STARVED = 0.9
_LITTLE_SHARE = 0.1
# With fewer requests, a 99th percentile is the slowest one, and the start and the end weigh too much.
_FEWEST_REQUESTS = 100


@dataclass(frozen=True)
class ServerShare:
    """What the server says of the period; `is_lost` where it stopped answering within it."""

    statistics: tuple[ModelStatistics, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    pending: float | None = None
    cpu_cores: float | None = None
    is_lost: bool = False


def build_point(
    load: Load,
    repeat: int,
    started_at: str,
    seconds: float,
    measurement: Measurement,
    ends: Mapping[int, PeriodEnd],
    server: ServerShare,
    *,
    users_rest: bool = False,
) -> Point:
    """Put together what was counted over `seconds`, and whether the generator was the limit.

    `users_rest`: the users of a closed loop do not always have a request in flight.
    """
    point = Point(
        load=load,
        repeat=repeat,
        started_at=started_at,
        duration_seconds=seconds,
        sent=measurement.sent,
        succeeded=measurement.succeeded,
        failed=measurement.failed,
        timed_out=measurement.timed_out,
        in_flight_at_end=measurement.unfinished,
        never_sent=measurement.never_sent,
        request_rate=measurement.succeeded / seconds,
        throughput=measurement.succeeded * load.batch_size / seconds,
        mean_in_flight=measurement.in_flight_seconds / seconds,
        response=summarize(measurement.response),
        service=summarize(measurement.service),
        failures=summarize(measurement.failures) if measurement.failed else None,
        first_response=summarize(measurement.first_response) if measurement.responses else None,
        responses=measurement.responses or None,
        errors=measurement.error_kinds({worker: end.kinds for worker, end in ends.items()}),
        client=ClientCost(
            cpu_fraction=max(end.cpu_fraction for end in ends.values()),
            cpu_us_per_request=sum(end.cpu_seconds for end in ends.values()) / max(measurement.sent, 1) * 1e6,
            slip_p50_us=measurement.slip.percentile_us(50),
            slip_p99_us=measurement.slip.percentile_us(99),
            slip_max_us=measurement.slip.max_us,
        ),
        server=server.statistics,
        server_metrics=dict(server.metrics),
        server_cpu_cores=server.cpu_cores,
        pending=server.pending,
        timeline=measurement.timeline.buckets(),
    )
    reasons = client_bound_reasons(point, ends.values(), users_rest=users_rest or server.is_lost)
    return point.model_copy(update={"client_bound": bool(reasons), "client_bound_reasons": reasons})


def client_bound_reasons(point: Point, ends: Collection[PeriodEnd], *, users_rest: bool = False) -> tuple[str, ...]:
    """Why the load generator was the limit; empty where it was not."""
    reasons = []
    busiest = max(ends, key=lambda end: end.cpu_fraction)
    starved = busiest.starved_seconds / busiest.wall_seconds
    if busiest.cpu_fraction > _BUSY:
        reasons.append(f"the load generator used {100 * busiest.cpu_fraction:.0f} % of a core; use more processes")
    elif busiest.cpu_fraction + starved > _STARVED:
        reasons.append(
            f"the load generator waited for a core {100 * starved:.0f} % of the time; run it on another machine"
        )
    slip_us, limit_us = point.client.slip_p99_us, max(_SLIP_BUDGET_US, _SLIP_SHARE * point.response.p99_us)
    if point.sent >= _FEWEST_REQUESTS and slip_us > limit_us:
        reasons.append(
            f"the load generator fell behind schedule (p99 {slip_us / 1e3:.1f} ms late; limit {limit_us / 1e3:.1f})"
        )
    # Users who think, or without a server to talk to, are not in flight, and that is not the generator's doing.
    if not users_rest and (few := few_in_flight(point)):
        reasons.append(few)
    if any(end.ran_out_of_connections for end in ends):
        reasons.append("all connections were in use and requests waited for one; allow more connections")
    return tuple(reasons)


def few_in_flight(point: Point) -> str | None:
    """That fewer requests were in flight than a closed loop has users; None where there were as many."""
    users = point.load.concurrency or 0
    if point.sent >= users * _FEWEST_REQUESTS and point.mean_in_flight < users * (1 - _LITTLE_SHARE):
        return f"only {point.mean_in_flight:.1f} of {users} requests were in flight on average"
    return None
