"""One period's measurement as a point of the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_deploy.loadtest.limits import client_bound_reasons
from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.messages import PeriodEnd
from serve_deploy.reports.point import ClientCost, Load, ModelStatistics, Point
from serve_deploy.reports.pooling import summarize


@dataclass(frozen=True)
class ServerShare:
    """What the server says of the period; `is_lost` where it stopped answering within it."""

    statistics: tuple[ModelStatistics, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    pending: float | None = None
    is_lost: bool = False


def build_point(
    load: Load,
    repeat: int,
    started_at: str,
    seconds: float,
    measurement: Measurement,
    ends: Mapping[int, PeriodEnd],
    server: ServerShare,
) -> Point:
    """Put together what was counted over `seconds`, and whether the generator was the limit."""
    # Users without a server to talk to are not in flight, and that is not the generator's doing.
    concurrency = None if server.is_lost else load.concurrency
    reasons = _why_client_bound(concurrency, seconds, measurement, ends)
    return Point(
        load=load,
        repeat=repeat,
        started_at=started_at,
        duration_seconds=seconds,
        sent=measurement.sent,
        succeeded=measurement.succeeded,
        failed=measurement.failed,
        timed_out=measurement.timed_out,
        in_flight_at_end=measurement.unfinished,
        request_rate=measurement.succeeded / seconds,
        throughput=measurement.succeeded * load.batch_size / seconds,
        mean_in_flight=measurement.in_flight_seconds / seconds,
        response=summarize(measurement.response),
        service=summarize(measurement.service),
        failures=summarize(measurement.failures) if measurement.failed else None,
        first_response=summarize(measurement.first_response) if measurement.responses else None,
        responses=measurement.responses or None,
        errors=measurement.error_kinds({worker: end.kinds for worker, end in ends.items()}),
        client=_client_cost(measurement, ends),
        client_bound=bool(reasons),
        client_bound_reasons=reasons,
        server=server.statistics,
        server_metrics=dict(server.metrics),
        pending=server.pending,
        timeline=measurement.timeline.buckets(),
    )


def _client_cost(measurement: Measurement, ends: Mapping[int, PeriodEnd]) -> ClientCost:
    return ClientCost(
        cpu_fraction=max(end.cpu_seconds / end.wall_seconds for end in ends.values()),
        cpu_us_per_request=sum(end.cpu_seconds for end in ends.values()) / max(measurement.sent, 1) * 1e6,
        slip_p50_us=measurement.slip.percentile_us(50),
        slip_p99_us=measurement.slip.percentile_us(99),
        slip_max_us=measurement.slip.max_us,
    )


def _why_client_bound(
    concurrency: int | None, seconds: float, measurement: Measurement, ends: Mapping[int, PeriodEnd]
) -> tuple[str, ...]:
    busiest = max(ends.values(), key=lambda end: end.cpu_seconds / end.wall_seconds)
    return client_bound_reasons(
        requests=measurement.sent,
        cpu_fraction=busiest.cpu_seconds / busiest.wall_seconds,
        starved_fraction=busiest.starved_seconds / busiest.wall_seconds,
        slip_p99_us=measurement.slip.percentile_us(99),
        response_p99_us=measurement.response.percentile_us(99),
        concurrency=concurrency,
        mean_in_flight=measurement.in_flight_seconds / seconds,
        ran_out_of_connections=any(end.ran_out_of_connections for end in ends.values()),
    )
