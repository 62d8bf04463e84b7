"""How sure a figure is that was measured several times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, pvariance, stdev

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.point import Interval, LoadIntervals, Point
from serve_deploy.reports.pooling import group_by_load
from serve_deploy.reports.readers import (
    ITL,
    TOKEN_RATES,
    TPOT,
    TTFT,
    Read,
    latency_reader,
    read_error_rate,
    read_good_rate,
    read_goodput,
    read_queue_us,
    token_reader,
)


@dataclass(frozen=True)
class Difference:
    """now minus before with its confidence interval."""

    estimate: float
    low: float
    high: float


@cache
def student_t(degrees_of_freedom: int, confidence: float = 0.95) -> float:
    """The two-sided quantile of Student's t: Abramowitz and Stegun's finite series 26.7.3 and 26.7.4, bisected."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees_of_freedom) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees_of_freedom)


def _within(angle: float, degrees: int) -> float:
    """The probability of |t| below tan(angle) · √degrees."""
    odd, cosine = degrees % 2, math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for factor in range(1 + odd, degrees, 2):
        total += term * math.sin(angle)
        term *= factor / (factor + 1) * cosine**2
    return (angle + total) * 2 / math.pi if odd else total


def estimate_difference(before: Sequence[float], now: Sequence[float], confidence: float) -> Difference:
    """The difference of two means by Student's t, from three values in all.

    The variance is pooled: a few repeats tell little of their own, and machines are about as noisy before as after.
    """
    sides, degrees = (before, now), len(before) + len(now) - 2
    variance = sum(pvariance(side) * len(side) for side in sides) / degrees
    reach = student_t(degrees, confidence) * math.sqrt(variance * sum(1 / len(side) for side in sides))
    estimate = fmean(now) - fmean(before)
    return Difference(estimate, estimate - reach, estimate + reach)


def estimate_interval(values: Sequence[float]) -> Interval | None:
    """The mean of independent measurements with its 95 % confidence interval; None for fewer than two.

    No figure of a load test is below 0, so no interval is.
    """
    if len(values) < 2:
        return None
    mean = fmean(values)
    margin = student_t(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean=mean, low=max(0.0, mean - margin), high=mean + margin)


def measure_interval(repeats: Sequence[Point], read: Read) -> Interval | None:
    """The interval of one figure over the repeats of a load; None where a repeat does not have it."""
    values = [value for point in repeats if (value := read(point)) is not None]
    return estimate_interval(values) if len(values) == len(repeats) else None


def estimate_intervals(points: Iterable[Point]) -> tuple[LoadIntervals, ...]:
    """The interval of every figure of every load that was measured more than once."""
    return tuple(
        LoadIntervals(
            load=repeats[0].load,
            repeats=len(repeats),
            figures={
                name: interval
                for name, read in _FIGURES.items()
                if (interval := measure_interval(repeats, read)) is not None
            },
        )
        for repeats in group_by_load(points)
        if len(repeats) > 1
    )


_FIGURES: dict[str, Read] = {
    "request_rate": lambda point: point.request_rate,
    "throughput": lambda point: point.throughput,
    "mean_in_flight": lambda point: point.mean_in_flight,
    "error_rate": read_error_rate,
    "queue_us": read_queue_us,
    **{f"generation.{figure}": token_reader(figure) for figure in TOKEN_RATES},
    "goodput": read_goodput,
    "good_rate": read_good_rate,
    **{
        f"{clock}.{figure}": latency_reader(clock, figure)
        for clock in ("response", "service", TTFT, ITL, TPOT)
        for figure in LatencySummary.model_fields
        if figure.endswith("_us")
    },
}
