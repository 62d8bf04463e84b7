"""Put measurements together: the repeats of one load one after the other, or parts that ran at the same time.

Counts add up and histograms merge exactly, so that a percentile is that of all the requests together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from serve_deploy.reports.latencies import pool_latency
from serve_deploy.reports.point import BatchStatistics, ClientCost, ErrorKind, ModelStatistics, Point
from serve_deploy.reports.token_pooling import pool_tokens

_STATISTICS_US = ("queue_us", "compute_input_us", "compute_infer_us", "compute_output_us")


def pool_errors(points: Iterable[Point]) -> tuple[ErrorKind, ...]:
    """Add up the errors of one kind, keeping the first example; most frequent first."""
    kinds: dict[str, ErrorKind] = {}
    for error in (error for point in points for error in point.errors):
        known = kinds.get(error.kind)
        kinds[error.kind] = error if known is None else known.model_copy(update={"count": known.count + error.count})
    return tuple(sorted(kinds.values(), key=lambda error: -error.count))


def pool_statistics(points: Iterable[Point]) -> tuple[ModelStatistics, ...]:
    """Add up the server's account of each model; times are means over all requests."""
    by_model: dict[str, list[ModelStatistics]] = {}
    for statistics in (statistics for point in points for statistics in point.server):
        by_model.setdefault(statistics.model, []).append(statistics)
    return tuple(_add_statistics(accounts) for accounts in by_model.values())


def _add_statistics(accounts: Sequence[ModelStatistics]) -> ModelStatistics:
    requests = sum(account.requests for account in accounts)
    inferences = sum(account.inferences for account in accounts)
    executions = sum(account.executions for account in accounts)
    means = {
        name: sum(getattr(account, name) * account.requests for account in accounts) / max(1, requests)
        for name in _STATISTICS_US
    }
    return ModelStatistics(
        model=accounts[0].model,
        requests=requests,
        inferences=inferences,
        executions=executions,
        failures=sum(account.failures for account in accounts),
        average_batch_size=inferences / executions if executions else 0.0,
        batches=tuple(pool_batches(accounts)),
        **means,
    )


def pool_batches(accounts: Iterable[ModelStatistics]) -> Iterator[BatchStatistics]:
    """Add up the executions of each batch size, by rising size; times are means over them."""
    by_size: dict[int, list[BatchStatistics]] = {}
    for batch in (batch for account in accounts for batch in account.batches):
        by_size.setdefault(batch.batch_size, []).append(batch)
    for size, batches in sorted(by_size.items()):
        executions = sum(batch.executions for batch in batches)
        spent_us = sum(batch.executions * batch.compute_us for batch in batches)
        yield BatchStatistics(batch_size=size, executions=executions, compute_us=spent_us / executions)


def pool_repeats(points: Sequence[Point]) -> Point:
    """Pool the repeats of one load; the slip is the worst repeat's, the timeline stays with the repeats."""
    if len(points) == 1:
        return points[0]
    seconds = sum(point.duration_seconds for point in points) or 1.0
    cpu_fraction = sum(point.client.cpu_fraction * point.duration_seconds for point in points) / seconds
    return points[0].model_copy(
        update={
            **add_counts(points, seconds),
            "client": pool_client(points, cpu_fraction),
            "server": pool_statistics(points),
            "server_metrics": _mean_metrics(points),
            "generation": pool_tokens(points, seconds),
            "server_cpu_cores": _mean(
                [point.server_cpu_cores for point in points if point.server_cpu_cores is not None]
            ),
            "pending": _mean([point.pending for point in points if point.pending is not None]),
            "timeline": (),
        }
    )


def add_counts(points: Sequence[Point], seconds: float) -> dict[str, object]:
    """Everything that adds up in the same way for repeats and for parts of one run, which took so long in all."""
    counts = ("sent", "succeeded", "failed", "timed_out", "in_flight_at_end", "never_sent")
    rates = ("request_rate", "throughput", "mean_in_flight")
    return {
        "duration_seconds": seconds,
        **{name: sum(getattr(point, name) for point in points) for name in counts},
        **{name: sum(getattr(point, name) * point.duration_seconds for point in points) / seconds for name in rates},
        "response": pool_latency(point.response for point in points),
        "service": pool_latency(point.service for point in points),
        "failures": pool_latency(failures) if (failures := [p.failures for p in points if p.failures]) else None,
        "errors": pool_errors(points),
        "client_bound": any(point.client_bound for point in points),
        "client_bound_reasons": tuple(
            dict.fromkeys(reason for point in points for reason in point.client_bound_reasons)
        ),
    }


def pool_client(points: Sequence[Point], cpu_fraction: float) -> ClientCost:
    """Pool what the generator cost; of the slip, which has no histogram, the worst."""
    sent = sum(point.sent for point in points)
    return ClientCost(
        cpu_fraction=cpu_fraction,
        cpu_us_per_request=sum(point.client.cpu_us_per_request * point.sent for point in points) / max(1, sent),
        slip_p50_us=max(point.client.slip_p50_us for point in points),
        slip_p99_us=max(point.client.slip_p99_us for point in points),
        slip_max_us=max(point.client.slip_max_us for point in points),
    )


def group_by_load(points: Iterable[Point]) -> tuple[tuple[Point, ...], ...]:
    """Group points into the repeats of each load, in the order in which the loads were first measured."""
    groups: dict[object, list[Point]] = {}
    for point in points:
        groups.setdefault(point.load, []).append(point)
    return tuple(tuple(group) for group in groups.values())


def _mean_metrics(points: Sequence[Point]) -> dict[str, float]:
    names = dict.fromkeys(name for point in points for name in point.server_metrics)
    return {
        name: sum(values) / len(values)
        for name in names
        if (values := [point.server_metrics[name] for point in points if name in point.server_metrics])
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
