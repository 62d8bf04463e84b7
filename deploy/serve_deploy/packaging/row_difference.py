"""How far two outputs of one model are apart, and how far rounding lets them be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tolerance:
    """A difference may be `relative` of the element plus `of_largest` of the row's largest magnitude plus `least`."""

    relative: float
    of_largest: float
    least: float


# ONNX Runtime sums in another order at another batch size. That moves a float by some ten units in the last place of
# the largest term (FP32: 1e-7 each), far less than what sharing a scale or a mean between rows does. `least` is the
# rounding of numbers about 1, which is all that a sigmoid near 0 consists of.
_TOLERANCES = {
    "float16": Tolerance(2e-3, 2e-3, 1e-3),
    "float32": Tolerance(1e-4, 1e-5, 2e-7),
    "float64": Tolerance(1e-9, 1e-10, 1e-14),
}


def excess(actual: Array, expected: Array) -> float:
    """How far two arrays of one shape are apart, in units of what their type allows; above 1 they differ."""
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(actual, expected) else float("inf")
    tolerance = _TOLERANCES[expected.dtype.name]
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    a, b = a[finite], b[finite]
    if not a.size:
        return 0.0
    magnitude = np.abs(b)
    allowed = tolerance.relative * magnitude + tolerance.of_largest * magnitude.max() + tolerance.least
    return float((np.abs(a - b) / allowed).max())


def relative_difference(actual: Array, expected: Array) -> float:
    """The largest difference of two float arrays, as a share of the expected one's largest magnitude."""
    if expected.dtype.kind != "f":
        return 0.0
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.any():
        return 0.0
    largest = float(np.abs(b[finite]).max())
    return float(np.abs(a[finite] - b[finite]).max()) / (largest or 1.0)
