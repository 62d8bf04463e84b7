"""Compare served outputs with a model's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve_deploy.manifest import TensorParity

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Relative to the element, and to the largest magnitude of its tensor: another batch size or another build of ONNX
# Runtime sums in another order, which moves the last bits of the largest terms.
_TOLERANCES = {"float16": (5e-3, 5e-3), "float32": (1e-4, 2e-5), "float64": (1e-9, 1e-10)}


@dataclass(frozen=True)
class Difference:
    """How far one served tensor is from the model's own; `problem` says why that is too far, None if it is not."""

    name: str
    absolute: float = 0.0
    relative: float = 0.0
    problem: str | None = None


def compare_tensors(name: str, served: Array, own: Array, *, noise: float = 0.0) -> Difference:
    """Compare one output; `noise` is what the model itself varies by between batch sizes, of the largest magnitude.

    Strings, integers and truth values must be equal, NaN equals NaN. `relative` is to the own largest magnitude.
    """
    if served.shape != own.shape:
        return Difference(name, problem=f"shape {list(served.shape)} instead of {list(own.shape)}")
    if own.dtype.kind not in "f":
        wrong = int((served != own).sum())
        problem = f"{wrong} of {own.size} elements differ" if wrong else None
        return Difference(name, float(wrong), float(wrong) / max(own.size, 1), problem)
    return _compare_floats(name, served, own, noise)


def _compare_floats(name: str, served: Array, own: Array, noise: float) -> Difference:
    import numpy as np

    a, b = served.astype(np.float64), own.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return Difference(name, float("inf"), float("inf"), "infinite or NaN in other places")
    a, b = a[finite], b[finite]
    if not a.size:
        return Difference(name)
    distance, magnitude = np.abs(a - b), np.abs(b)
    largest = float(magnitude.max())
    relative_tolerance, of_largest = _TOLERANCES[own.dtype.name]
    allowed = relative_tolerance * magnitude + max(of_largest, 3 * noise) * largest + np.finfo(np.float64).tiny
    absolute = float(distance.max())
    relative = absolute / largest if largest else (0.0 if absolute == 0 else float("inf"))
    problem = f"it differs by up to {absolute:.3g} ({relative:.1e} of its magnitude)"
    return Difference(name, absolute, relative, problem if (distance > allowed).any() else None)


def summarize_parity(differences: Iterable[Difference]) -> tuple[TensorParity, ...]:
    """The largest difference of each tensor over all requests, in order of first appearance."""
    largest: dict[str, TensorParity] = {}
    for difference in differences:
        known = largest.get(difference.name)
        largest[difference.name] = TensorParity(
            name=difference.name,
            largest_absolute_difference=max(difference.absolute, known.largest_absolute_difference if known else 0.0),
            largest_relative_difference=max(difference.relative, known.largest_relative_difference if known else 0.0),
        )
    return tuple(largest.values())
