"""Plausible sizes for a model's free dimensions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from serve_deploy.samples.graph_hints import InputHints
from serve_deploy.tensors.types import DataType, TensorSpec

Kind = Literal["rows", "fixed", "past", "sequence", "image", "audio", "other"]
Sizes = dict[str, int]

_LARGEST_SIZE = 20_000

# In the order they are tried, all kinds in step: what most models of that kind take, then what odd ones take.
_CANDIDATES: dict[Kind, tuple[int, ...]] = {
    "sequence": (16, 16, 16, 32, 8, 64, 1, 128, 5, 100, 512),
    "image": (64, 224, 320, 640, 32, 48, 256, 512, 299, 1024, 28),
    "audio": (512, 16000, 1024, 576, 1600, 4096, 48000, 256, 64, 8, 1),
    "other": (16, 64, 4, 32, 1, 128, 80, 3, 2, 8, 100),
    "past": (4, 4, 4, 0, 1, 2, 8, 4, 16, 3, 5),
}


@dataclass(frozen=True)
class FreeDims:
    """The key of each free dim (equal keys are equal sizes), the kind of each key, and sizes the graph demands."""

    keys: Mapping[tuple[str, int], str]
    kinds: Mapping[str, Kind]
    demanded: Mapping[str, int]

    def fill(self, tensor: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The tensor's shape with every free dim given its size."""
        return tuple(
            _evaluate(self.keys[tensor.name, axis], sizes) if dim == -1 else dim
            for axis, dim in enumerate(tensor.shape)
        )


def find_free_dims(
    inputs: Sequence[TensorSpec],
    symbols: Mapping[str, tuple[str | None, ...]],
    hints: Mapping[str, InputHints],
) -> FreeDims:
    """Name every free dim by its symbol, or by its place where it has none that could mean anything."""
    keys: dict[tuple[str, int], str] = {}
    kinds: dict[str, Kind] = {}
    demanded: dict[str, int] = {}
    first_names = {names[0] for names in symbols.values() if names and _is_name(names[0])}
    for tensor in inputs:
        names = symbols.get(tensor.name, ())
        for axis, dim in enumerate(tensor.shape):
            if dim != -1:
                continue
            name = names[axis] if axis < len(names) else None
            key = str(name) if _is_name(name) else f"{tensor.name}[{axis}]"
            keys[tensor.name, axis] = key
            kind = "rows" if name in first_names or axis == 0 else _kind(tensor, axis, key)
            kinds[key] = "rows" if "rows" in (kind, kinds.get(key)) else kinds.get(key, kind)
            wanted = hints[tensor.name].axis_sizes.get(axis) if tensor.name in hints else None
            if wanted and kind != "rows":
                demanded[key] = wanted
    return FreeDims(keys, kinds, demanded)


def _is_name(name: str | None) -> bool:
    return bool(name) and name != "?" and not re.fullmatch(r"(unk_*|None|-1|dynamic|\?)\d*", str(name))


def _kind(tensor: TensorSpec, axis: int, key: str) -> Kind:
    name = key.lower()
    if re.search(r"batch|^n$|^b$|^bs$", name) and not re.search(r"seq|len", name):
        return "rows"
    if "past" in name or "cache" in name:
        return "past"
    rank = len(tensor.shape)
    if re.search(r"height|width|^h$|^w$", name) or (rank >= 4 and _is_image(tensor)):
        return "image"
    if re.search(r"sample|audio|wav", name) and "batch" not in name:
        return "audio"
    if tensor.data_type.is_integer or re.search(r"seq|len|token|time|frame|^t$|^s$|^l$", name):
        if tensor.data_type.is_float and rank == 2:
            return "audio"
        return "sequence"
    if tensor.data_type.is_float and rank == 2 and axis == 1:
        return "audio"
    return "other"


def _is_image(tensor: TensorSpec) -> bool:
    image_types = (DataType.FP32, DataType.FP16, DataType.BF16, DataType.FP64, DataType.UINT8, DataType.INT8)
    return tensor.data_type in image_types and len(tensor.shape) in (4, 5)


def propose_sizes(free: FreeDims, rows: int = 1) -> Iterator[Sizes]:
    """Sizes for all keys, likely ones first; `rows` is the size of free first dims."""
    for step in range(len(_CANDIDATES["other"])):
        yield {
            key: free.demanded[key]
            if key in free.demanded
            else (rows if kind == "rows" else _CANDIDATES.get(kind, (1,) * 11)[step])
            for key, kind in free.kinds.items()
        }
        if not any(kind != "rows" and key not in free.demanded for key, kind in free.kinds.items()):
            return


def adapt_sizes(free: FreeDims, sizes: Sizes, complaint: str) -> Iterator[Sizes]:
    """Sizes that ONNX Runtime's complaint suggests: it names what it got and what it wanted."""
    numbers = _wanted_numbers(complaint)
    changeable = [key for key in sizes if key not in free.demanded and free.kinds[key] != "rows"]
    # A size that the complaint names is the likelier one to be wrong.
    for key in sorted(changeable, key=lambda key: sizes[key] not in numbers):
        for number in numbers:
            if number != sizes[key]:
                yield {**sizes, key: number}


def _wanted_numbers(complaint: str) -> list[int]:
    """The numbers of a complaint, and how many elements each shape in it has."""
    numbers = [int(number) for number in re.findall(r"(?<![\w.])\d{1,5}(?![\w.])", complaint)]
    shapes = re.findall(r"\{([-\d, ]+)\}", complaint)
    products = [math.prod(int(dim) for dim in shape.split(",") if dim.strip().isdigit()) for shape in shapes]
    return [number for number in dict.fromkeys([*reversed(products), *numbers]) if 0 < number <= _LARGEST_SIZE]


def _evaluate(key: str, sizes: Mapping[str, int]) -> int:
    """A symbol's size; `past + sequence` and the like follow from their parts where those are known."""
    parts = re.split(r"\s*([+*-]|//)\s*", key)
    if len(parts) != 3 or not all(part.isdigit() or part in sizes for part in parts[::2]):
        return sizes[key]
    left, right = (int(part) if part.isdigit() else sizes[part] for part in parts[::2])
    match parts[1]:
        case "+":
            return left + right
        case "*":
            return left * right
        case "-":
            return max(left - right, 0)
        case _:
            return left // max(right, 1)
