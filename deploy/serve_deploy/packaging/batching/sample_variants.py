"""Rows that show what a batch shares: from the samples, others that are louder, quieter, empty, equal, or poisonous."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from serve_deploy.packaging.batching.input_changes import (
    Place,
    blend_arrays,
    compared,
    empty,
    extreme,
    fill_float,
    mirror,
    move,
    narrow,
    nearly_equal,
    pad,
    same,
    scalable_inputs,
    scale,
    training_point,
)
from serve_deploy.samples.landmarks import NO_LANDMARKS, Landmarks

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

# Quiet neighbours and loud ones: what is shared over the batch (a mean, an int8 scale) is moved most by these.
_QUIET, _LOUD, _HUGE = 1e-4, 1e3, 1e6
_NEAR = (1e-6, 1e-3, 0.1)  # how far near duplicates are apart, as a share of the row's largest number
_PADS = 4


@dataclass(frozen=True)
class Variant:
    """One way to change samples: what it is called, and the alternatives in the order to try them.

    The first alternative that the model accepts is enough. Rows that are `poison` are only neighbours of others:
    nothing can be asked of what the model answers to them.
    """

    kind: str
    alternatives: tuple[Sample, ...]
    poison: bool = False


Change = Callable[[Place], Array | None]


def largest_group(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one row that have the same shapes as most others, so that they can be stacked."""
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in samples:
        if all(array.ndim and array.shape[0] == 1 for array in sample.values()):
            key = tuple(sorted((name, array.shape) for name, array in sample.items()))
            groups.setdefault(key, []).append(sample)
    return max(groups.values(), key=len, default=[])


def are_equal(one: Sample, other: Sample) -> bool:
    """Whether two samples hold the same values; NaN equals NaN."""
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def constant_inputs(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The inputs that have the same values in all samples."""
    first, *others = samples
    return tuple(name for name in first if all(same(first[name], other[name]) for other in others))


def vary_samples(samples: Sequence[Sample], landmarks: Landmarks = NO_LANDMARKS) -> Iterator[Variant]:
    """The samples changed in every way that has shown rows to mix, the most telling ways first."""
    yield from _move_constants(samples, landmarks)
    changes = _Changes(samples, landmarks)
    yield from changes.scaled("loud", 1, _LOUD)
    yield from changes.all_inputs("zeros", 0, empty)
    for number in range(landmarks.rows_of(_width(samples[0]))):
        yield from changes.all_inputs("compared with", 1 + number, partial(compared, number=number))
    yield from changes.all_inputs("training points", 2, training_point)
    yield from changes.scaled("quiet", 2, _QUIET)
    yield from changes.all_inputs("narrow", 3, narrow)
    yield from changes.scaled("negative", 3, -_LOUD)
    yield from changes.all_inputs("not a number", 0, partial(fill_float, value=np.nan), poison=True)
    yield from changes.scaled("huge", 2, _HUGE)
    yield from changes.scaled("huge and negative", 1, -_HUGE)
    for number in range(_PADS):
        yield from changes.all_inputs("padded", number, partial(pad, number=number))
    yield from changes.all_inputs("mirrored", 0, mirror)
    for share in _NEAR:
        yield from changes.all_inputs("nearly equal", 0, partial(nearly_equal, share=share))
    yield from changes.all_inputs("infinite", 1, partial(fill_float, value=np.inf), poison=True)
    yield from changes.all_inputs("highest", 2, partial(extreme, highest=True))
    yield from changes.all_inputs("lowest", 3, partial(extreme, highest=False))


def can_blend(one: Sample, other: Sample) -> bool:
    """Whether two samples have the same inputs in the same shapes."""
    return one.keys() == other.keys() and all(other[name].shape == array.shape for name, array in one.items())


def blend(one: Sample, other: Sample, share: float) -> Sample:
    """A row between two: floats in proportion, all else from `other` up to that share of the elements."""
    return {name: blend_arrays(array, other[name], share) for name, array in one.items()}


def _width(sample: Sample) -> int:
    return max((array.size for array in sample.values()), default=1)


class _Changes:
    """Apply a change to a sample: to all inputs at once, and where the model refuses that, to one after the other."""

    def __init__(self, samples: Sequence[Sample], landmarks: Landmarks) -> None:
        self.samples, self.landmarks = samples, landmarks

    def all_inputs(self, kind: str, number: int, change: Change, *, poison: bool = False) -> Iterator[Variant]:
        sample = self.samples[number % len(self.samples)]
        changed = {name: change(self._place(name, array)) for name, array in sample.items()}
        yield from _variant(kind, sample, changed, poison=poison)

    def scaled(self, kind: str, number: int, factor: float) -> Iterator[Variant]:
        sample = self.samples[number % len(self.samples)]
        names = scalable_inputs(sample)
        changed = {name: scale(array, factor) if name in names else None for name, array in sample.items()}
        yield from _variant(kind, sample, changed)

    def _place(self, name: str, array: Array) -> Place:
        return Place(name, array, [sample[name] for sample in self.samples], self.landmarks)


def _variant(
    kind: str, sample: Sample, changed: Mapping[str, Array | None], *, poison: bool = False
) -> Iterator[Variant]:
    new = {name: array for name, array in changed.items() if array is not None and not same(array, sample[name])}
    if not new:
        return
    together = [{**sample, **new}]
    alone = [{**sample, name: array} for name, array in new.items()] if len(new) > 1 else []
    yield Variant(kind, (*together, *alone), poison=poison)


# --- inputs that are the same in every sample -----------------------------------------------------------------------


def _move_constants(samples: Sequence[Sample], landmarks: Landmarks) -> Iterator[Variant]:
    """For each input that never varies, rows in which it does: what is read from one row for all is seen by these."""
    for index, name in enumerate(constant_inputs(samples)):
        sample = samples[(index + 1) % len(samples)]
        moved = [array for array in move(sample[name], landmarks) if not same(array, sample[name])]
        if moved:
            yield Variant(f"another {name}", tuple({**sample, name: array} for array in moved))
