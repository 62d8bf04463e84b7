"""How sure a figure is that was measured several times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from serve_deploy.reports.gates import read_error_rate, read_queue_us
from serve_deploy.reports.point import Interval, LatencySummary, LoadIntervals, Point
from serve_deploy.reports.pooling import group_by_load

# Student's t at 97.5 % for 1 to 30 degrees of freedom; beyond, it is within 0.2 % of the formula below.
_STUDENT_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def student_t(degrees_of_freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    if degrees_of_freedom <= len(_STUDENT_T):
        return _STUDENT_T[degrees_of_freedom - 1]
    return 1.96 + 2.4 / degrees_of_freedom


def estimate_interval(values: Sequence[float]) -> Interval | None:
    """The mean of independent measurements with its 95 % confidence interval; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    margin = student_t(len(values) - 1) * math.sqrt(variance / len(values))
    return Interval(mean=mean, low=mean - margin, high=mean + margin)


def measure_interval(repeats: Sequence[Point], read: Callable[[Point], float | None]) -> Interval | None:
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


def _latency_reader(clock: str, figure: str) -> Callable[[Point], float | None]:
    def read(point: Point) -> float | None:
        latency = getattr(point, clock)
        return float(getattr(latency, figure)) if latency.count else None

    return read


_FIGURES: dict[str, Callable[[Point], float | None]] = {
    "request_rate": lambda point: point.request_rate,
    "throughput": lambda point: point.throughput,
    "mean_in_flight": lambda point: point.mean_in_flight,
    "error_rate": read_error_rate,
    "queue_us": read_queue_us,
    **{
        f"{clock}.{figure}": _latency_reader(clock, figure)
        for clock in ("response", "service")
        for figure in LatencySummary.model_fields
        if figure.endswith("_us")
    },
}
