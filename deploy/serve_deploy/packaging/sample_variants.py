"""Rows that show what a batch shares: from the samples, others that are louder, quieter, empty, equal, or poisonous."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_deploy.samples.landmarks import NO_LANDMARKS, Landmarks

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

# Quiet neighbours and loud ones: what is shared over the batch (a mean, an int8 scale) is moved most by these.
_QUIET, _LOUD, _HUGE = 1e-4, 1e3, 1e6
_FEW = 4  # numbers a row: a speed, a ratio, the sizes of an image
_NARROW = 8  # a range of integers is cut to this part of it
_NEAR = (1e-6, 1e-3, 0.1)  # how far near duplicates are apart, as a share of the row's largest number
_PADS = 4
_COUNTABLE = 1 << 53


@dataclass(frozen=True)
class Variant:
    """One way to change samples: what it is called, and the alternatives in the order to try them.

    The first alternative that the model accepts is enough. Rows that are `poison` are only neighbours of others:
    nothing can be asked of what the model answers to them. `loudness` is what floats were multiplied by.
    """

    kind: str
    alternatives: tuple[Sample, ...]
    poison: bool = False
    loudness: float = 1.0


@dataclass(frozen=True)
class _Place:
    """One input of one sample, the values that it has over all samples, and what the graph compares with."""

    name: str
    array: Array
    seen: Sequence[Array]
    landmarks: Landmarks

    @property
    def kind(self) -> str:
        return self.array.dtype.kind

    @property
    def low(self) -> int:
        return min(int(array.min()) for array in self.seen)

    @property
    def high(self) -> int:
        return max(int(array.max()) for array in self.seen)


Change = Callable[[_Place], Array | None]


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
    return all(_same(one[name], other[name]) for name in one)


def constant_inputs(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The inputs that have the same values in all samples."""
    first, *others = samples
    return tuple(name for name in first if all(_same(first[name], other[name]) for other in others))


def vary_samples(samples: Sequence[Sample], landmarks: Landmarks = NO_LANDMARKS) -> Iterator[Variant]:
    """The samples changed in every way that has shown rows to mix, the most telling ways first."""
    yield from _move_constants(samples, landmarks)
    changes = _Changes(samples, landmarks)
    yield from changes.scaled("loud", 1, _LOUD)
    yield from changes.all_inputs("zeros", 0, _zeros)
    for number in range(landmarks.rows_of(_width(samples[0]))):
        yield from changes.all_inputs("compared with", 1 + number, lambda place, n=number: _compared(place, n))
    yield from changes.all_inputs("training points", 2, _training_point)
    yield from changes.scaled("quiet", 2, _QUIET)
    yield from changes.all_inputs("narrow", 3, _narrow)
    yield from changes.scaled("negative", 3, -_LOUD)
    yield from changes.all_inputs("not a number", 0, lambda place: _fill_float(place, np.nan), poison=True)
    yield from changes.scaled("huge", 2, _HUGE)
    yield from changes.scaled("huge and negative", 1, -_HUGE)
    for number in range(_PADS):
        yield from changes.all_inputs("padded", number, lambda place, n=number: _padded(place, n))
    yield from changes.all_inputs("mirrored", 0, _mirror)
    for share in _NEAR:
        yield from changes.all_inputs("nearly equal", 0, lambda place, s=share: _nearly_equal(place, s))
    yield from changes.all_inputs("infinite", 1, lambda place: _fill_float(place, np.inf), poison=True)
    yield from changes.all_inputs("highest", 2, lambda place: _extreme(place, highest=True))
    yield from changes.all_inputs("lowest", 3, lambda place: _extreme(place, highest=False))


def blend(one: Sample, other: Sample, share: float) -> Sample:
    """A row between two: floats in proportion, all else from `other` up to that share of the elements."""
    return {name: _blend(array, other[name], share) for name, array in one.items()}


def _same(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


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
        changed = {name: _scale(array, factor) if name in names else None for name, array in sample.items()}
        yield from _variant(kind, sample, changed, loudness=factor)

    def _place(self, name: str, array: Array) -> _Place:
        return _Place(name, array, [sample[name] for sample in self.samples], self.landmarks)


def _variant(
    kind: str, sample: Sample, changed: Mapping[str, Array | None], *, poison: bool = False, loudness: float = 1.0
) -> Iterator[Variant]:
    new = {name: array for name, array in changed.items() if array is not None and not _same(array, sample[name])}
    if not new:
        return
    together = [{**sample, **new}]
    alone = [{**sample, name: array} for name, array in new.items()] if len(new) > 1 else []
    yield Variant(kind, (*together, *alone), poison=poison, loudness=loudness)


# --- inputs that are the same in every sample -----------------------------------------------------------------------


def _move_constants(samples: Sequence[Sample], landmarks: Landmarks) -> Iterator[Variant]:
    """For each input that never varies, rows in which it does: what is read from one row for all is seen by these."""
    for index, name in enumerate(constant_inputs(samples)):
        sample = samples[(index + 1) % len(samples)]
        moved = [array for array in _moved(sample[name], landmarks) if not _same(array, sample[name])]
        if moved:
            yield Variant(f"another {name}", tuple({**sample, name: array} for array in moved))


def _moved(array: Array, landmarks: Landmarks) -> Iterator[Array]:
    """Other values for an input, those that most models take first."""
    kind = array.dtype.kind
    if kind == "f":
        for factor, offset in ((0.5, 0.0), (2.0, 0.0), (1.0, 1.0), (1.0, 0.01), (0.0, 0.0)):
            yield (array * array.dtype.type(factor) + array.dtype.type(offset)).astype(array.dtype)
    elif kind in "iu":
        yield array // 2
        yield array + array.dtype.type(1)
        yield array * array.dtype.type(2)
        yield array * array.dtype.type(0)
        for value in landmarks.integers(array.dtype):
            yield np.full_like(array, value)
    elif kind == "b":
        yield ~array
    else:
        for text in (*landmarks.texts, "", "a"):
            yield np.full_like(array, text)


# --- changes to one input -------------------------------------------------------------------------------------------


def scalable_inputs(sample: Sample) -> set[str]:
    """The inputs of numbers; of inputs with large ones beside them, not those of a few numbers.

    A speed or a size ratio a thousand times as large makes no louder signal, but an output too large for the memory.
    """
    few = {name for name, array in sample.items() if array.size <= _FEW}
    numbers = {name for name, array in sample.items() if array.dtype.kind in "fiu"}
    return numbers if len(few) == len(sample) else numbers - few


def _scale(array: Array, scale: float) -> Array:
    """Scaled as far as the type goes; integers only up, and no further than a float can count."""
    if array.dtype.kind == "f":
        highest = float(np.finfo(array.dtype).max)
        return np.clip(array.astype(np.float64) * scale, -highest, highest).astype(array.dtype)
    info = np.iinfo(array.dtype)
    low, high = max(int(info.min), -_COUNTABLE), min(int(info.max), _COUNTABLE)
    return np.clip(array.astype(np.float64) * scale, low, high).astype(array.dtype) if abs(scale) > 1 else array


def _zeros(place: _Place) -> Array:
    return np.full_like(place.array, "" if place.kind == "O" else 0)


def _fill_float(place: _Place, value: float) -> Array | None:
    return np.full_like(place.array, value) if place.kind == "f" else None


def _compared(place: _Place, number: int) -> Array | None:
    """A row of the values that the graph compares with, and of their neighbours on both sides."""
    if place.kind == "O":
        values: Sequence[Any] = place.landmarks.texts
    elif place.kind == "f":
        values = place.landmarks.floats(place.array.dtype)
    elif place.kind in "iu":
        values = place.landmarks.integers(place.array.dtype)
    else:
        return None
    size = place.array.size
    start = number * size
    if not size or (start and start >= len(values)) or not values:
        return None
    chosen = [values[(start + index) % len(values)] for index in range(size)]
    return np.array(chosen, dtype=place.array.dtype).reshape(place.array.shape)


def _training_point(place: _Place) -> Array | None:
    """A row that the model knows, to the last bit."""
    for point in place.landmarks.points.get(place.name, ()):
        if place.kind == "f" and point.size == place.array.shape[-1]:
            return np.broadcast_to(point, place.array.shape).astype(place.array.dtype)
    return None


def _narrow(place: _Place) -> Array | None:
    """Integers near the lowest that was seen: a picture in the dark."""
    if place.kind not in "iu" or not place.array.size:
        return None
    distance = (place.array.astype(object) - place.low) // _NARROW
    return np.asarray(place.low + distance).astype(place.array.dtype)


def _mirror(place: _Place) -> Array | None:
    if place.kind not in "iu" or not place.array.size:
        return None
    mirrored = place.low + place.high - place.array.astype(object)
    return np.asarray(mirrored).astype(place.array.dtype)


def _padded(place: _Place, number: int) -> Array | None:
    """The second half of each row filled up with what may mean that nothing is there."""
    if place.array.ndim < 2 or place.array.shape[1] < 2:
        return None
    padded = place.array.copy()
    padded[:, -(-place.array.shape[1] // 2) :] = _pad_value(place, number)
    return padded


def _pad_value(place: _Place, number: int) -> Any:
    if place.kind == "O":
        return ""
    if place.kind not in "iu":
        return 0
    candidates = [0, 1, place.high, *place.landmarks.integers(place.array.dtype)]
    return candidates[number % len(candidates)]


def _nearly_equal(place: _Place, share: float) -> Array | None:
    """A row like another but for a little: every float, or one element of anything else."""
    if not place.array.size:
        return None
    if place.kind == "f":
        step = share * float(np.max(np.abs(place.array), initial=0.0)) or share
        return (place.array + place.array.dtype.type(step)).astype(place.array.dtype)
    other = next((array for array in place.seen if not _same(array, place.array)), None)
    if other is None:
        return None
    near = place.array.copy()
    index = int(np.argmax((other != place.array).reshape(-1)))
    near.reshape(-1)[index] = other.reshape(-1)[index]
    return near


def _extreme(place: _Place, *, highest: bool) -> Array | None:
    """Every element the highest, or the lowest, that was seen: past those there may be no embedding."""
    if place.kind in "iu" and place.array.size:
        return np.full_like(place.array, place.high if highest else place.low)
    return np.full_like(place.array, highest) if place.kind == "b" else None


def _blend(one: Array, other: Array, share: float) -> Array:
    if one.dtype.kind == "f":
        return (one * one.dtype.type(1 - share) + other * one.dtype.type(share)).astype(one.dtype)
    mixed = one.copy()
    count = round(share * one.size)
    mixed.reshape(-1)[:count] = other.reshape(-1)[:count]
    return mixed
