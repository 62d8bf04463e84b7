"""Samples at other scales, for a proof of batching: quiet rows and loud ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

# Quiet neighbours and loud ones: what is shared over the batch (a mean, an int8 scale) is moved most by these.
_QUIET, _LOUD = 1e-4, 1e3
_FEW = 4  # numbers a row: a speed, a ratio, the sizes of an image


def largest_group(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one row that have the same shapes as most others, so that they can be stacked."""
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in samples:
        if all(array.ndim and array.shape[0] == 1 for array in sample.values()):
            key = tuple(sorted((name, array.shape) for name, array in sample.items()))
            groups.setdefault(key, []).append(sample)
    return max(groups.values(), key=len, default=[])


def are_equal(one: Sample, other: Sample) -> bool:
    """Whether two samples hold the same values."""
    return all(np.array_equal(one[name], other[name]) for name in one)


def vary_samples(samples: Sequence[Sample]) -> Iterator[tuple[Sample, float]]:
    """The samples at other scales; integers have none and are mirrored within the range that was seen."""
    for number, scale in enumerate((_LOUD, _QUIET, -_LOUD)):
        sample = samples[(number + 1) % len(samples)]
        scaled = _scalable(sample)
        if scaled:
            yield {name: _scale(array, scale) if name in scaled else array for name, array in sample.items()}, scale
    mirrored = {name: _mirror(array, [s[name] for s in samples]) for name, array in samples[0].items()}
    if not are_equal(mirrored, samples[0]):
        yield mirrored, 1.0


def _scalable(sample: Sample) -> set[str]:
    """The float inputs; of inputs with large ones beside them, not those of a few numbers.

    A speed or a size ratio a thousand times as large makes no louder signal, but an output too large for the memory.
    """
    few = {name for name, array in sample.items() if array.size <= _FEW}
    floats = {name for name, array in sample.items() if array.dtype.kind == "f"}
    return floats if len(few) == len(sample) else floats - few


def _scale(array: Array, scale: float) -> Array:
    largest = float(np.finfo(array.dtype).max)
    return np.clip(array.astype(np.float64) * scale, -largest, largest).astype(array.dtype)


def _mirror(array: Array, seen: Sequence[Array]) -> Array:
    if array.dtype.kind not in "iu" or not array.size:
        return array
    low, high = min(int(a.min()) for a in seen), max(int(a.max()) for a in seen)
    return (low + (high - array)).astype(array.dtype)
