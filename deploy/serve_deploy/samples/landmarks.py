"""The numbers and texts that a model's graph compares its inputs with: where it changes its mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from serve_deploy.onnx.graph import all_nodes, attributes, iterate_tensors
from serve_deploy.samples.graph_hints import InputHints

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_LARGEST_CONSTANT = 16  # elements: a threshold or a list of special ids, not a layer's weights
_MOST = 24
_MOST_ROWS = 3
_NEXT = 1e-3  # how far beside a number, as a share of it
_COMPARING = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "ThresholdedRelu", "TreeEnsemble"}
_SHIFTING = {"Sub", "Add", "Max", "Min", "Clip", "Mod", "Where"}
_TEXT_LISTS = ("keys_strings", "cats_strings", "string_vocabulary", "pool_strings", "stopwords")
_NUMBER_LISTS = ("keys_int64s", "cats_int64s", "nodes_values", "keys_floats")


@dataclass(frozen=True)
class Landmarks:
    """Numbers and texts, those that are compared with first; and by input whole rows, such as training points."""

    numbers: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    points: Mapping[str, tuple[np.ndarray[Any, Any], ...]] = field(default_factory=dict)

    def floats(self, dtype: np.dtype[Any]) -> list[float]:
        """Each number and one on either side of it, as far as the type goes."""
        largest = float(np.finfo(dtype).max)
        around = [(n, n + abs(n) * _NEXT + _NEXT**2, n - abs(n) * _NEXT - _NEXT**2) for n in self.numbers]
        return [value for values in around for value in values if abs(value) <= largest]

    def integers(self, dtype: np.dtype[Any]) -> list[int]:
        """The whole numbers among them, and then those beside them, as far as the type goes."""
        info = np.iinfo(dtype)
        whole = [int(number) for number in self.numbers if float(number).is_integer()]
        beside = [value for number in whole for value in (number + 1, number - 1)]
        return [value for value in dict.fromkeys((*whole, *beside)) if info.min <= value <= info.max]

    def rows_of(self, width: int) -> int:
        """How many rows of that many elements hold them all: three at most."""
        return min(-(-max(3 * len(self.numbers), len(self.texts)) // max(width, 1)), _MOST_ROWS)


NO_LANDMARKS = Landmarks()


def read_landmarks(proto: ModelProto, hints: Mapping[str, InputHints]) -> Landmarks:
    """The small constants of a graph, its functions and branches included, and the rows that `hints` found."""
    numbers: Counter[float] = Counter()
    texts: dict[str, None] = {}
    weights = _weights_of_constants(proto)
    for name, tensor in _named_constants(proto):
        values = _small_values(tensor)
        for value in values.reshape(-1) if values is not None else ():
            if isinstance(value, bytes | str):
                texts[value.decode("utf-8", "replace") if isinstance(value, bytes) else value] = None
            elif np.isfinite(value):
                numbers[float(value)] = max(numbers[float(value)], weights[name])
    for node in all_nodes(proto):
        for attribute in node.attribute:
            if attribute.name in _TEXT_LISTS:
                texts.update(dict.fromkeys(text.decode("utf-8", "replace") for text in attribute.strings[:_MOST]))
            elif attribute.name in _NUMBER_LISTS:
                numbers.update(dict.fromkeys(map(float, (*attribute.ints, *attribute.floats)[:_MOST]), 2))
    most = [number for number, _ in sorted(numbers.items(), key=lambda item: (-item[1], abs(item[0])))]
    points = {name: tuple(hint.centres[:_MOST_ROWS]) for name, hint in hints.items() if hint.centres}
    return Landmarks(tuple(most[:_MOST]), tuple(texts)[:_MOST], points)


def _weights_of_constants(proto: ModelProto) -> Counter[str]:
    """How likely each value is one that others are compared with, through the casts and reshapes in between."""
    weights: Counter[str] = Counter()
    passed: list[tuple[str, str]] = []
    for node in all_nodes(proto):
        weight = 3 if node.op_type in _COMPARING else 1 if node.op_type in _SHIFTING else 0
        for name in node.input:
            weights[name] = max(weights[name], weight)
        if node.op_type in ("Cast", "Identity", "Unsqueeze", "Reshape", "CastLike") and node.input:
            passed.append((node.input[0], node.output[0]))
    for source, target in reversed(passed):
        weights[source] = max(weights[source], weights[target])
    return weights


def _named_constants(proto: ModelProto) -> Iterator[tuple[str, Any]]:
    for tensor in iterate_tensors(proto):
        yield tensor.name, tensor
    for node in all_nodes(proto):
        if node.op_type == "Constant":
            yield from ((node.output[0], value) for value in _constant_values(node))


def _constant_values(node: NodeProto) -> Iterator[Any]:
    for key, value in attributes(node).items():
        if key == "value" or key.startswith("value_"):
            yield value


def _small_values(value: Any) -> np.ndarray[Any, Any] | None:
    """The values of a small constant; None for a large one, one in another file, or one of another kind."""
    from onnx import TensorProto, numpy_helper
    from onnx.external_data_helper import uses_external_data

    if not isinstance(value, TensorProto):
        return np.array(value, dtype=object) if np.size(value) <= _LARGEST_CONSTANT else None
    if not value.data_type or uses_external_data(value) or np.prod(value.dims, dtype=float) > _LARGEST_CONSTANT:
        return None
    array = numpy_helper.to_array(value)
    return array.astype(object) if array.dtype.kind in "iufOSU" else None
