"""Read one figure of a point by its name; None where it was not measured."""

from __future__ import annotations

from collections.abc import Callable

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.latencies import read_histogram
from serve_deploy.reports.point import Point

Read = Callable[[Point], float | None]
TTFT, ITL, TPOT = "generation.time_to_first_token", "generation.inter_token", "generation.time_per_output_token"

TOKEN_RATES = ("output_tokens_per_second", "input_tokens_per_second")


def find_latency(point: Point, clock: str) -> LatencySummary | None:
    """The latencies that a point holds under a name such as `response` or `generation.inter_token`; None: none."""
    owner: Point | Generation | None = point
    if clock.startswith("generation."):
        owner, clock = point.generation, clock.removeprefix("generation.")
    latency: LatencySummary | None = getattr(owner, clock, None)
    return latency if latency is not None and latency.count else None


def latency_reader(clock: str, figure: str) -> Read:
    """Reads a figure of latencies, such as p99_us, in µs."""

    def read(point: Point) -> float | None:
        latency = find_latency(point, clock)
        return float(getattr(latency, figure)) if latency else None

    return read


def percentile_reader(clock: str, percent: float) -> Read:
    """Reads any percentile of latencies in µs."""

    def read(point: Point) -> float | None:
        latency = find_latency(point, clock)
        return read_percentile(latency, percent) if latency else None

    return read


def token_reader(figure: str) -> Read:
    """Reads a figure of the token streams, such as output_tokens_per_second."""

    def read(point: Point) -> float | None:
        value: float | None = getattr(point.generation, figure, None)
        return value

    return read


def read_longest_gap_us(point: Point) -> float | None:
    """The longest gap inside one answer; None where no answer had one."""
    gap = point.generation.longest_gap if point.generation else None
    return gap.gap_us if gap else None


def read_percentile(latency: LatencySummary, percent: float) -> float | None:
    """A percentile of latencies in µs; None where there are none."""
    if not latency.count:
        return None
    known = {50: latency.p50_us, 90: latency.p90_us, 95: latency.p95_us, 99: latency.p99_us, 99.9: latency.p999_us}
    if percent in known:
        return known[percent]
    return read_histogram(latency).percentile_us(percent) if latency.histogram else None


def read_error_rate(point: Point) -> float | None:
    """Requests that failed, timed out or were never sent, as a share of those that ended; None where none did."""
    return point.unsuccessful / point.ended if point.ended else None


def read_timeouts(point: Point) -> float | None:
    """Requests that timed out, as a share of those that ended; None where none did."""
    return point.timed_out / point.ended if point.ended else None


def read_queue_us(point: Point) -> float | None:
    """Mean time that a request waits in the server's queues, over all composing models; None without statistics."""
    requests = point.server[0].requests if point.server else 0
    if not requests:
        return None
    return sum(statistics.queue_us * statistics.requests for statistics in point.server) / requests


def read_goodput(point: Point) -> float | None:
    """Requests that met every objective, as a share of those that ended; None without objectives."""
    good = point.generation.good if point.generation else None
    return None if good is None or not point.ended else good / point.ended


def read_good_rate(point: Point) -> float | None:
    """Requests a second that met every objective; None without objectives."""
    good = point.generation.good if point.generation else None
    return None if good is None else good / point.duration_seconds
