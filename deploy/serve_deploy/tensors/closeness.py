"""How close two tensors are, and how close each use wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tolerance:
    """A number may be off by `relative` of itself, `of_largest` of its tensor's largest magnitude, and `least`."""

    relative: float
    of_largest: float = 0.0
    least: float = float(np.finfo(np.float64).tiny)


Tolerances = Mapping[str, Tolerance]

# One build of ONNX Runtime at two batch sizes: another order of summing moves a float by some ten units in the last
# place of the largest term (FP32: 1e-7 each), far less than sharing a scale or a mean between rows does. `least` is
# the rounding of numbers about 1, which is all that a sigmoid near 0 consists of.
SAME_ROW: Tolerances = {
    "float16": Tolerance(2e-3, 2e-3, 1e-3),
    "float32": Tolerance(1e-4, 1e-5, 2e-7),
    "float64": Tolerance(1e-9, 1e-10, 1e-14),
}
# One build at one batch size, with other rows beside the same one: the same kernels in the same order, so that nothing
# but the last bits may move. There is no excuse of a large term, and hence no share of the largest.
SAME_PLACE: Tolerances = {
    "float16": Tolerance(2e-3, least=1e-7),
    "float32": Tolerance(1e-6, least=1e-30),
    "float64": Tolerance(1e-14, least=1e-200),
}
# Another build of ONNX Runtime, as in Triton: other kernels, so a little more of the largest term. There is no floor,
# since a tensor of tiny numbers must be served as exactly as one of large ones.
SERVED: Tolerances = {
    "float16": Tolerance(5e-3, 5e-3),
    "float32": Tolerance(1e-4, 2e-5),
    "float64": Tolerance(1e-9, 1e-10),
}


def _for_every_float(tolerance: Tolerance) -> Tolerances:
    return dict.fromkeys(("float16", "float32", "float64"), tolerance)


# Outputs from elsewhere: another framework, a GPU, or a graph that was rewritten.
COMPUTED_ELSEWHERE = _for_every_float(Tolerance(1e-3, least=1e-5))
# The answers to two samples: less apart than this, they may be the same answer. The floor is lower, since the
# probabilities of a thousand classes are small and differ by little.
SAME_ANSWER = _for_every_float(Tolerance(1e-3, least=1e-6))


@dataclass(frozen=True)
class Difference:
    """The largest difference, also as a share of the expected largest magnitude; `problem` is None if close enough."""

    absolute: float = 0.0
    relative: float = 0.0
    problem: str | None = None


def compare(
    actual: Array, expected: Array, tolerances: Tolerances, *, noise: float = 0.0, scale: Array | None = None
) -> Difference:
    """Compare two tensors: floats within the tolerance of the expected type, all else exactly; NaN equals NaN.

    `noise` is what the model itself varies by, as a share of the largest magnitude: three times that is allowed.
    `scale` is what each element is measured by (`element_scale`); without it, that is the tensor's largest magnitude.
    """
    if actual.shape != expected.shape:
        return Difference(problem=f"has shape {list(actual.shape)} instead of {list(expected.shape)}")
    if np.array_equal(actual, expected):
        return Difference()
    if expected.dtype.kind != "f":
        wrong = int(np.sum(actual != expected))
        problem = f"differs in {wrong} of {expected.size} elements" if wrong else None
        return Difference(wrong, wrong / expected.size, problem)
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return Difference(float("inf"), float("inf"), "is infinite or NaN in other places")
    own = None if scale is None else scale[finite]
    return _compare_finite(a[finite], b[finite], tolerances[expected.dtype.name], noise, own)


def _compare_finite(a: Array, b: Array, tolerance: Tolerance, noise: float, scale: Array | None) -> Difference:
    if not a.size:
        return Difference()
    distance, magnitude = np.abs(a - b), np.abs(b)
    largest = float(magnitude.max())
    measure = magnitude * 0 + largest if scale is None else _with_floor(np.maximum(scale, magnitude), largest)
    share = distance / np.where(measure > 0, measure, 1.0)
    worst = int(np.argmax(share))
    absolute, relative = float(distance.max()), float(share[worst])
    allowed = tolerance.relative * magnitude + max(tolerance.of_largest, 3 * noise) * measure + tolerance.least
    if (distance <= allowed).all():
        return Difference(absolute, relative)
    of = "the largest value" if scale is None else "what it usually is"
    said = f"differs by up to {_say(absolute, 3)} ({_say(100 * relative, 2)} % of {of})"
    return Difference(absolute, relative, said)


def _say(value: float, digits: int) -> str:
    return f"{Decimal(f'{value:.{digits}g}'):,f}"


def _with_floor(scale: Array, largest: float) -> Array:
    """Nothing below 1 is measured finer than what stands beside it: a probability of 1e-9 is noise beside one of 1."""
    return np.maximum(scale, min(largest, 1.0))


def element_scale(tensors: Sequence[Array]) -> Array | None:
    """How large each element usually is: its largest finite magnitude over tensors of one shape; None if no floats.

    A score of 0.5 beside a coordinate of 3840 is measured by scores, not by coordinates.
    """
    if not tensors or tensors[0].dtype.kind != "f" or len({tensor.shape for tensor in tensors}) > 1:
        return None
    magnitudes = [np.abs(tensor.astype(np.float64)) for tensor in tensors]
    finite = np.stack([np.where(np.isfinite(magnitude), magnitude, 0.0) for magnitude in magnitudes])
    return np.asarray(finite.max(axis=0))


def are_close(actual: Array, expected: Array, tolerances: Tolerances) -> bool:
    """Whether two tensors are the same within the tolerance."""
    return compare(actual, expected, tolerances).problem is None
