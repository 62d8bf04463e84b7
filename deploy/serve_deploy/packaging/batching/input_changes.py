"""Other values for one input of a sample: scaled, emptied, padded, compared with, nearly the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_deploy.samples.landmarks import Landmarks

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

_FEW = 4  # numbers a row: a speed, a ratio, the sizes of an image
_NARROW = 8  # a range of integers is cut to this part of it
_COUNTABLE = 1 << 53


@dataclass(frozen=True)
class Place:
    """One input of one sample, the values that it has over all samples, and what the graph compares with."""

    name: str
    array: Array
    seen: Sequence[Array]
    landmarks: Landmarks

    @property
    def kind(self) -> str:
        return str(self.array.dtype.kind)

    @property
    def low(self) -> int:
        return min(int(array.min()) for array in self.seen)

    @property
    def high(self) -> int:
        return max(int(array.max()) for array in self.seen)


def move(array: Array, landmarks: Landmarks) -> Iterator[Array]:
    """Other values for an input, those that most models take first."""
    kind = array.dtype.kind
    if kind == "f":
        for factor, offset in ((0.5, 0.0), (2.0, 0.0), (1.0, 1.0), (1.0, 0.01), (0.0, 0.0)):
            yield _as_type(array.astype(np.float64) * factor + offset, array.dtype)
    elif kind in "iu":
        yield array // 2
        yield _as_type(array.astype(np.float64) + 1, array.dtype)
        yield _as_type(array.astype(np.float64) * 2, array.dtype)
        yield np.zeros_like(array)
        for value in landmarks.integers(array.dtype):
            yield np.full_like(array, value)
    elif kind == "b":
        yield ~array
    else:
        for text in (*landmarks.texts, "", "a"):
            yield np.full_like(array, text)


def scalable_inputs(sample: Sample) -> set[str]:
    """The inputs of numbers; of inputs with large ones beside them, not those of a few numbers.

    A speed or a size ratio a thousand times as large makes no louder signal, but an output too large for the memory.
    """
    few = {name for name, array in sample.items() if array.size <= _FEW}
    numbers = {name for name, array in sample.items() if array.dtype.kind in "fiu"}
    return numbers if len(few) == len(sample) else numbers - few


def scale(array: Array, scale: float) -> Array:
    """Scaled as far as the type goes; integers only up."""
    return (
        _as_type(array.astype(np.float64) * scale, array.dtype) if array.dtype.kind == "f" or abs(scale) > 1 else array
    )


def _as_type(values: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers in a type, the nearest that it has; integers no further than a float can count."""
    if dtype.kind == "f":
        highest = float(np.finfo(dtype).max)
        return np.clip(values, -highest, highest).astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(values, max(int(info.min), -_COUNTABLE), min(int(info.max), _COUNTABLE)).astype(dtype)


def empty(place: Place) -> Array:
    return np.full_like(place.array, "" if place.kind == "O" else 0)


def fill_float(place: Place, value: float) -> Array | None:
    return np.full_like(place.array, value) if place.kind == "f" else None


def compared(place: Place, number: int) -> Array | None:
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


def training_point(place: Place) -> Array | None:
    """A row that the model knows, to the last bit."""
    for point in place.landmarks.points.get(place.name, ()):
        if place.kind == "f" and point.size == place.array.shape[-1]:
            return np.asarray(np.broadcast_to(point, place.array.shape), dtype=place.array.dtype)
    return None


def narrow(place: Place) -> Array | None:
    """Integers near the lowest that was seen: a picture in the dark."""
    if place.kind not in "iu" or not place.array.size:
        return None
    distance = (place.array.astype(object) - place.low) // _NARROW
    return np.asarray(place.low + distance).astype(place.array.dtype)


def mirror(place: Place) -> Array | None:
    if place.kind not in "iu" or not place.array.size:
        return None
    mirrored = place.low + place.high - place.array.astype(object)
    return np.asarray(mirrored).astype(place.array.dtype)


def pad(place: Place, number: int) -> Array | None:
    """The second half of each row filled up with what may mean that nothing is there."""
    if place.array.ndim < 2 or place.array.shape[1] < 2:
        return None
    padded = place.array.copy()
    padded[:, -(-place.array.shape[1] // 2) :] = _pad_value(place, number)
    return padded


def _pad_value(place: Place, number: int) -> Any:
    if place.kind == "O":
        return ""
    if place.kind not in "iu":
        return 0
    candidates = [0, 1, place.high, *place.landmarks.integers(place.array.dtype)]
    return candidates[number % len(candidates)]


def nearly_equal(place: Place, share: float) -> Array | None:
    """A row like another but for a little: every float, or one element of anything else."""
    if not place.array.size:
        return None
    if place.kind == "f":
        step = share * float(np.max(np.abs(place.array), initial=0.0)) or share
        return _as_type(place.array.astype(np.float64) + step, place.array.dtype)
    other = next((array for array in place.seen if not same(array, place.array)), None)
    if other is None:
        return None
    near = place.array.copy()
    index = int(np.argmax((other != place.array).reshape(-1)))
    near.reshape(-1)[index] = other.reshape(-1)[index]
    return near


def extreme(place: Place, *, highest: bool) -> Array | None:
    """Every element the highest, or the lowest, that was seen: past those there may be no embedding."""
    if place.kind in "iu" and place.array.size:
        return np.full_like(place.array, place.high if highest else place.low)
    return np.full_like(place.array, highest) if place.kind == "b" else None


def blend_arrays(one: Array, other: Array, share: float) -> Array:
    if one.dtype.kind == "f":
        return _as_type(one.astype(np.float64) * (1 - share) + other.astype(np.float64) * share, one.dtype)
    mixed = one.copy()
    count = round(share * one.size)
    mixed.reshape(-1)[:count] = other.reshape(-1)[:count]
    return mixed


def same(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
