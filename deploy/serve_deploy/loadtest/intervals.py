"""How sure a figure is that was measured several times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from serve_deploy.loadtest.report import Interval, Point

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


def measure_interval(repeats: Sequence[Point], read: Callable[[Point], float]) -> Interval | None:
    """The interval of one figure over the repeats of a load."""
    return estimate_interval([read(point) for point in repeats])
