"""Plausible values for a model's inputs, from their names, types and what the graph does with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serve_deploy.samples.graph_hints import InputHints
from serve_deploy.tensors.types import DataType, TensorSpec

Array = np.ndarray[Any, Any]

_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "in", "Spain", "and", "nobody", "minds")
_PLACES = ((1.0, 0.0), (2.0, -1.0), (6.0, 0.0), (20.0, -10.0))  # spread and lowest value of uniform numbers
_SCATTERED = (*_PLACES, (8.0, 0.0), (200.0, -100.0), (2e3, -1e3), (1e-2, 0.0), (4.0, 2.0), (100.0, 0.0))
_IMAGE_RANGES = ((1.0, 0.0), (4.0, -2.0), (2.0, -1.0), (255.0, 0.0))
_SHARES = (0.3, 0.2, 0.4, 0.5)
_FACTORS = (1.0, 0.75, 1.25, 0.9)
_IMAGE_SIZE = r"im\w*_?(shape|size)|target_size|orig\w*_size"
_MOST_INDICES = 1 << 15  # of a vocabulary, so that ids stay where real ones lie


@dataclass(frozen=True)
class Draw:
    """One array to make: for which input, of which shape, for which sample, in which manner, from which numbers."""

    tensor: TensorSpec
    shape: tuple[int, ...]
    hints: InputHints
    number: int
    manner: str
    rng: np.random.Generator
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def is_called(self, pattern: str) -> bool:
        return re.search(pattern, self.tensor.name.lower()) is not None


# How values are drawn, in the order of trying: as the hints say; without differing lengths and masks; small integers;
# ones and zeros alone; far apart.
MANNERS = ("varied", "plain", "small", "ones", "zeros", "scattered")


def draw_values(draw: Draw) -> Array:
    """An array of the input's type."""
    data_type = draw.tensor.data_type
    if data_type is DataType.BYTES:
        return _draw_strings(draw)
    if draw.manner in ("ones", "zeros"):
        values = np.full(draw.shape, draw.manner == "ones")
    elif data_type is DataType.BOOL:
        plain = not draw.shape or draw.is_called("mask") or draw.manner == "small"
        values = _mask(draw) if plain else draw.rng.random(draw.shape) < 0.5
    else:
        values = _draw_floats(draw) if data_type.is_float else _draw_integers(draw)
    return np.asarray(values).astype(data_type.numpy_name).reshape(draw.shape)


def _draw_strings(draw: Draw) -> Array:
    array = np.empty(draw.shape, dtype=object)
    flat = array.reshape(-1)
    for index in range(flat.size):
        known = _categories(draw, index, str)
        if known:
            flat[index] = known[int(draw.rng.integers(len(known)))]
        else:
            # Texts of different lengths, since some models answer in as many parts.
            words = draw.rng.choice(draw.hints.words or _WORDS, (4, 2, 7, 1)[draw.number % 4])
            flat[index] = " ".join(map(str, words))
    return array


def _categories(draw: Draw, index: int, kind: type) -> list[Any]:
    """The categories of one type that the column of a flat index knows."""
    column = index % max(draw.shape[-1] if draw.shape else 1, 1)
    known = draw.hints.categories.get(column) or draw.hints.categories.get(None) or []
    return [item for item in known if isinstance(item, kind)]


# --- integers -------------------------------------------------------------------------------------------------------


def _draw_integers(draw: Draw) -> Array:
    if draw.hints.categories:
        return _draw_categories(draw)
    named = None if draw.manner == "small" else _draw_named_integers(draw)
    if named is not None:
        return named
    limit = draw.hints.index_limit
    if limit is not None:
        return draw.rng.integers(0, min(limit, _MOST_INDICES), draw.shape)
    if draw.tensor.data_type in (DataType.UINT8, DataType.INT8) and len(draw.shape) > 1 and draw.manner != "small":
        info = np.iinfo(draw.tensor.data_type.numpy_name)
        return draw.rng.integers(info.min, info.max + 1, draw.shape)
    if draw.hints.is_size:
        return draw.rng.integers(1, 4, draw.shape)
    return draw.rng.integers(0, 2 if draw.manner == "small" else 10, draw.shape)


def _draw_categories(draw: Draw) -> Array:
    values = [_categories(draw, index, int) or [0] for index in range(int(np.prod(draw.shape)))]
    return np.array([items[int(draw.rng.integers(len(items)))] for items in values]).reshape(draw.shape)


def _draw_named_integers(draw: Draw) -> Array | None:
    """Values for inputs whose meaning their name gives away."""
    shape = draw.shape
    places = np.arange(shape[-1]) if shape else np.array(0)
    if draw.is_called(r"mask"):
        return _mask(draw)
    if draw.is_called(r"token_type|segment"):
        return np.broadcast_to(places * 2 >= places.size, shape)
    if draw.is_called(r"position"):
        return np.broadcast_to(places % (draw.hints.index_limit or 1 << 30), shape)
    if len(shape) <= 2 and int(np.prod(shape)) <= 8:
        return _draw_named_counts(draw)
    return None


def _draw_named_counts(draw: Draw) -> Array | None:
    if draw.is_called(r"sampl\w*_?rate|^sr$"):
        return np.full(draw.shape, 16000)
    if draw.is_called(r"len|num_frames"):
        return np.full(draw.shape, _length(draw))
    if draw.is_called(_IMAGE_SIZE):
        return _image_size(draw)
    if draw.is_called(r"time_?step|^t$"):
        return draw.rng.integers(1, 100, draw.shape)
    if draw.is_called(r"sid|speaker|lang|^k$|num|count|beam|max|min|seed"):
        return draw.rng.integers(0, draw.hints.index_limit, draw.shape) if draw.hints.index_limit else None
    return None


def _image_size(draw: Draw) -> Array:
    """The size of the image beside it; of later samples, whose originals were larger, a little more."""
    size = max((shape[-1] for shape in draw.shapes.values() if len(shape) == 4), default=64)
    return np.full(draw.shape, size + (8 * (draw.number % 4) if draw.manner == "varied" else 0))


def _length(draw: Draw) -> int:
    """How long the sequence is that this length belongs to; shorter for later samples."""
    others = [shape for name, shape in draw.shapes.items() if name != draw.tensor.name and len(shape) > 1]
    sequences = [shape for shape in others if len(shape) in (2, 3)]
    full = max((max(shape[1:]) for shape in sequences or others), default=4)
    return full if draw.manner != "varied" else max(1, full - (full // 5) * (draw.number % 4))


def _mask(draw: Draw) -> Array:
    """Ones; later samples end in zeros, as padded sequences do."""
    mask = np.ones(draw.shape)
    if draw.manner == "varied" and draw.shape and draw.shape[-1] > 3:
        padding = (draw.shape[-1] // 5) * (draw.number % 4)
        mask[..., draw.shape[-1] - padding :] = 0
    return mask


# --- floats ---------------------------------------------------------------------------------------------------------


def _draw_floats(draw: Draw) -> Array:
    if draw.is_called(r"mask"):
        return _mask(draw)
    if len(draw.shape) <= 1 or int(np.prod(draw.shape)) <= 3:
        named = _draw_named_scalars(draw)
        if named is not None:
            return named
    if draw.hints.thresholds and len(draw.shape) == 2:
        return _draw_around_thresholds(draw)
    width = draw.shape[-1] if draw.shape else 0
    centres = [row for row in draw.hints.centres if row.size == width]
    # Beside samples near centres there are always some that are not: near the zero of a layer all is quiet.
    if draw.number % 4 < min(len(centres), 3) and len(draw.shape) == 2:
        return _draw_around_centres(draw, centres)
    uniform = draw.rng.random(draw.shape)
    if len(draw.shape) == 4 and (min(draw.shape[-2:]) >= 8 or draw.shape[-1] in (1, 3, 4)):
        return _draw_image(draw)
    if len(draw.shape) >= 3:
        return uniform
    # Plain vectors: samples of different spread and place, so that saturated models answer differently to some.
    places = _SCATTERED if draw.manner == "scattered" else _PLACES
    spread, place = places[draw.number % len(places)]
    return uniform * spread + place


def _draw_image(draw: Draw) -> Array:
    """Blocks of colour and noise, in the ranges that images come in: 0 to 1, centred, 0 to 255.

    Noise alone leaves detectors and readers silent, and silent outputs prove nothing.
    """
    channels_last = draw.shape[-1] in (1, 3, 4)
    height, width = draw.shape[1:3] if channels_last else draw.shape[2:4]
    channels = draw.shape[3 if channels_last else 1]
    grid = draw.rng.random((draw.shape[0], channels, -(-height // 8), -(-width // 8)))
    blocks = grid.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    image = blocks * 0.9 + draw.rng.random(blocks.shape) * 0.1
    spread, place = _IMAGE_RANGES[draw.number % len(_IMAGE_RANGES)]
    image = image * spread + place
    return image.transpose(0, 2, 3, 1) if channels_last else image


def _draw_named_scalars(draw: Draw) -> Array | None:
    if draw.is_called(r"thresh|conf|score"):
        return np.full(draw.shape, _of_sample(draw, _SHARES))
    if draw.is_called(r"scale_factor|speed|length_scale|ratio|penalty|temperature"):
        return np.full(draw.shape, _of_sample(draw, _FACTORS))
    if draw.is_called(r"^scales$"):
        # piper's noise, length and width of noise: none of it random
        return np.resize([0.0, _of_sample(draw, _FACTORS), 0.0], draw.shape)
    if draw.is_called(r"noise"):
        return np.zeros(draw.shape)
    if draw.is_called(_IMAGE_SIZE):
        return _image_size(draw)
    if draw.is_called(r"len"):
        return np.full(draw.shape, 1.0 if draw.manner != "varied" else 1.0 - 0.2 * (draw.number % 4))
    return None


def _of_sample(draw: Draw, values: tuple[float, ...]) -> float:
    """Another number for each sample, so that one that is read from a single row is seen; plainly, the usual one."""
    return values[draw.number % len(values)] if draw.manner == "varied" else values[0]


def _draw_around_thresholds(draw: Draw) -> Array:
    """Features on both sides of the values that a tree ensemble splits at."""
    values = draw.rng.normal(size=draw.shape)
    for feature, thresholds in draw.hints.thresholds.items():
        if feature < draw.shape[-1]:
            spread = float(np.ptp(thresholds)) or 1.0
            values[..., feature] = draw.rng.choice(thresholds) + draw.rng.normal(scale=spread * 0.3)
    return values


def _draw_around_centres(draw: Draw, centres: list[Array]) -> Array:
    """Near the means, centroids or training points that the model compares with."""
    chosen = centres[(draw.number % 4) * len(centres) // min(len(centres), 3)].astype(np.float64)
    spread = np.std(np.stack(centres), axis=0)
    # Close by: what counts neighbours within a radius finds some, and other samples lie at other centres.
    noise = draw.rng.normal(size=draw.shape) * np.where(spread > 0, spread, 1.0) * 0.03
    return np.asarray(chosen + noise)
