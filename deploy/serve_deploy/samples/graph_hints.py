"""What a model's graph tells of the values and sizes that its inputs take, from the nodes that consume them.

A walk goes forward from each input through operators that keep its values (Cast, Reshape, Slice …) and notes what it
meets: an embedding bounds token ids, a convolution fixes channels, an encoder lists the categories it knows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from serve_deploy.onnx.graph import attributes, iterate_nodes, subgraphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_MOST_STEPS = 400  # nodes visited an input
_LARGEST_CONSTANT = 1 << 20  # elements of a constant whose values are looked at
# Operators that hand the values of their first input on; those of _SAME_AXES keep its axes too.
_SAME_AXES = {"Cast", "Identity", "Clip", "Neg", "Abs", "Not", "Dropout", "Relu", "Sqrt", "Exp", "Log", "Normalizer"}
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Pow", "PRelu"}
_RESHAPING = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Concat", "Split", "Expand", "Tile", "Pad",
    "Where", "FeatureVectorizer", "ReduceMax", "ReduceMin", "CumSum", "Gather", "ArrayFeatureExtractor",
    "SplitToSequence", "SequenceAt", "GatherND", "Scaler", "Imputer",
}  # fmt: skip

_SIZE_INPUTS = {
    ("Reshape", 1), ("Expand", 1), ("Tile", 1), ("Loop", 0), ("TopK", 1), ("Slice", 1), ("Slice", 2), ("Resize", 3),
    ("Pad", 1), ("Upsample", 1), ("NonMaxSuppression", 2), ("Trilu", 1), ("EyeLike", 0),
}  # fmt: skip


@dataclass
class InputHints:
    """What was found of one input; sizes by axis, values by what consumes them."""

    axis_sizes: dict[int, int] = field(default_factory=dict)
    index_limit: int | None = None
    categories: dict[int | None, list[Any]] = field(default_factory=dict)  # by column; None: all columns
    words: list[str] = field(default_factory=list)
    thresholds: dict[int, list[float]] = field(default_factory=dict)  # by feature
    centres: list[np.ndarray[Any, Any]] = field(default_factory=list)  # rows as wide as the input
    is_size: bool = False  # a shape, count or loop bound: large values cost memory and time


def read_hints(proto: ModelProto) -> dict[str, InputHints]:
    """Hints for every input of the model, by name."""
    graph = _Graph(proto)
    return {
        value.name: graph.follow(value.name, len(tensor.shape.dim) if tensor.HasField("shape") else None)
        for value in proto.graph.input
        for tensor in [value.type.tensor_type]
    }


@dataclass(frozen=True)
class _Place:
    """Where the walk is: a value, which of its axes are still the input's, and the column it was cut to."""

    name: str
    axes: tuple[int, ...] | None
    column: int | None


class _Graph:
    """Consumers and constants of a model, subgraphs and local functions included."""

    def __init__(self, proto: ModelProto) -> None:
        from onnx.inliner import inline_local_functions

        if proto.functions:
            proto = inline_local_functions(proto)
        self.consumers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
        self.constants: dict[str, TensorProto] = {i.name: i for i in proto.graph.initializer}
        self.copies: dict[str, str] = {}  # a value that is a constant but for its type, such as dequantised weights
        for node in iterate_nodes(proto.graph.node):
            for position, name in enumerate(node.input):
                self.consumers[name].append((node, position))
            self._note_constants(node)

    def _note_constants(self, node: NodeProto) -> None:
        for graph in subgraphs(node):
            self.constants.update({i.name: i for i in graph.initializer})
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
        elif node.op_type in ("Cast", "Identity", "DequantizeLinear") and node.input[0] in self.constants:
            self.copies[node.output[0]] = node.input[0]

    def array(self, name: str) -> np.ndarray[Any, Any] | None:
        """A constant's values, where they are in the file and not too many."""
        from onnx import numpy_helper
        from onnx.external_data_helper import uses_external_data

        tensor = self.constants.get(name)
        if tensor is None or uses_external_data(tensor) or np.prod(tensor.dims, dtype=float) > _LARGEST_CONSTANT:
            return None
        return numpy_helper.to_array(tensor)

    def shape(self, name: str) -> tuple[int, ...] | None:
        tensor = self.constants.get(self.copies.get(name, name))
        return None if tensor is None else tuple(tensor.dims)

    def follow(self, name: str, rank: int | None) -> InputHints:
        hints = InputHints()
        queue = [_Place(name, None if rank is None else tuple(range(rank)), None)]
        seen = set(queue)
        while queue and len(seen) < _MOST_STEPS:
            place = queue.pop(0)
            for node, position in self.consumers[place.name]:
                _note(self, hints, node, position, place)
                for following in self._beyond(node, position, place):
                    if following not in seen:
                        seen.add(following)
                        queue.append(following)
        return hints

    def _beyond(self, node: NodeProto, position: int, place: _Place) -> list[_Place]:
        operator = node.op_type
        if operator in ("Loop", "Scan"):
            first = 2 if operator == "Loop" else 0
            return [
                _Place(graph.input[position].name, None, place.column)
                for graph in subgraphs(node)
                if first <= position < len(graph.input)
            ]
        axes = self._axes_beyond(node, place)
        if operator in _SAME_AXES or operator in _ELEMENTWISE:
            return [_Place(output, axes, place.column) for output in node.output if output]
        if operator in _RESHAPING and not (operator in ("Gather", "GatherND") and position == 1):
            columns = self._columns(node, place)
            return [
                _Place(output, axes, column) for output, column in zip(node.output, columns, strict=False) if output
            ]
        return []

    def _axes_beyond(self, node: NodeProto, place: _Place) -> tuple[int, ...] | None:
        if place.axes is None or node.op_type in _SAME_AXES or node.op_type == "Scaler":
            return place.axes
        if node.op_type == "Transpose":
            permutation = list(attributes(node).get("perm") or reversed(range(len(place.axes))))
            return tuple(place.axes[axis] for axis in permutation) if len(permutation) == len(place.axes) else None
        if node.op_type in _ELEMENTWISE:
            other = [self.shape(name) for name in node.input if name != place.name]
            return place.axes if other and other[0] is not None and len(other[0]) <= len(place.axes) else None
        return None

    def _columns(self, node: NodeProto, place: _Place) -> list[int | None]:
        """The column of the input that each output holds, where the node cuts single columns out."""
        chosen = None
        if node.op_type in ("ArrayFeatureExtractor", "Gather") or (node.op_type == "Slice" and len(node.input) > 1):
            chosen = self.array(node.input[1])
        elif node.op_type == "Split" and attributes(node).get("axis", 0) in (1, -1):
            return list(range(len(node.output)))
        if chosen is not None and chosen.size == 1 and chosen.dtype.kind in "iu":
            return [int(chosen.reshape(-1)[0])]
        return [place.column] * len(node.output)


def _note(graph: _Graph, hints: InputHints, node: NodeProto, position: int, place: _Place) -> None:
    """Write down what one consumer says of the input."""
    operator = node.op_type
    if operator in ("Gather", "GatherND", "GatherElements") and position == 1:
        table = graph.shape(node.input[0]) or ()
        axis = attributes(node).get("axis", 0)
        _limit_index(hints, table[axis] if -len(table) <= axis < len(table) else None)
    elif operator in ("Embedding", "EmbedLayerNormalization") and position < 2:
        shape = graph.shape(node.input[2 if position == 0 else 4]) if len(node.input) > 4 else None
        _limit_index(hints, shape[0] if shape else None)
    elif operator == "OneHot":
        depth = graph.array(node.input[1]) if position == 0 else None
        _limit_index(hints, int(depth.reshape(-1)[0]) if depth is not None and depth.size else None)
        hints.is_size |= position == 1
    elif (operator, position) in _SIZE_INPUTS or operator in ("Range", "ConstantOfShape"):
        hints.is_size = True
    elif node.domain == "ai.onnx.ml":
        _note_ml(hints, node, place)
    else:
        _note_sizes(graph, hints, node, position, place)


def _limit_index(hints: InputHints, limit: int | None) -> None:
    if limit:
        hints.index_limit = min(limit, hints.index_limit or limit)


def _note_ml(hints: InputHints, node: NodeProto, place: _Place) -> None:
    values = attributes(node)
    for key in ("keys_strings", "keys_int64s", "cats_strings", "cats_int64s", "classes_strings", "string_vocabulary"):
        known = values.get(key)
        if known and node.op_type in ("LabelEncoder", "OneHotEncoder", "CategoryMapper"):
            known = [item.decode("utf-8", "replace") if isinstance(item, bytes) else int(item) for item in known]
            hints.categories.setdefault(place.column, []).extend(known)
    for feature, threshold in zip(values.get("nodes_featureids", ()), values.get("nodes_values", ()), strict=False):
        hints.thresholds.setdefault(int(feature), []).append(float(threshold))
    width = _ml_width(values)
    if width and place.axes is not None and place.column is None and len(place.axes) > 1:
        hints.axis_sizes.setdefault(place.axes[-1], width)
    for key in ("support_vectors", "offset"):
        known = np.array(values.get(key, ()), dtype=np.float64)
        if width and known.size and known.size % width == 0:
            hints.centres.extend(known.reshape(-1, width)[:64])


def _ml_width(values: dict[str, Any]) -> int | None:
    """How many features an ai.onnx.ml operator takes."""
    if values.get("nodes_featureids"):
        return None  # trees name only the features that they split on
    if values.get("coefficients") and values.get("intercepts"):
        return len(values["coefficients"]) // len(values["intercepts"]) or None
    for key in ("offset", "imputed_value_floats"):
        if len(values.get(key, ())) > 1:
            return len(values[key])
    if values.get("support_vectors") and values.get("vectors_per_class"):
        return len(values["support_vectors"]) // (sum(values["vectors_per_class"]) or 1) or None
    return None


def _note_sizes(graph: _Graph, hints: InputHints, node: NodeProto, position: int, place: _Place) -> None:
    if node.op_type == "TfIdfVectorizer":
        words = attributes(node).get("pool_strings", ())
        hints.words.extend(word.decode("utf-8", "replace") for word in words)
    if position != 0 and node.op_type not in _ELEMENTWISE:
        return
    _note_centres(graph, hints, node)
    for axis, size in _axis_sizes(graph, node, position, place):
        if place.axes is not None and -len(place.axes) <= axis < len(place.axes) and size > 1:
            hints.axis_sizes.setdefault(place.axes[axis], size)


def _note_centres(graph: _Graph, hints: InputHints, node: NodeProto) -> None:
    """Keep constants that the input is compared with: means, centroids, training points."""
    if node.op_type == "Gemm" and len(node.input) == 3:
        hints.centres.extend(_zero_of(graph.array(node.input[1]), graph.array(node.input[2])))
    if node.op_type not in ("Sub", "Add", "CDist", "Scan"):
        return
    for name in node.input:
        constant = graph.array(name)
        if constant is not None and constant.dtype.kind == "f" and 0 < constant.ndim <= 3:
            sign = -1 if node.op_type == "Add" else 1
            hints.centres.extend(sign * row for row in constant.reshape(-1, constant.shape[-1])[:64])


def _zero_of(matrix: np.ndarray[Any, Any] | None, offset: np.ndarray[Any, Any] | None) -> list[np.ndarray[Any, Any]]:
    """The vector that a square layer takes to zero: a mixture model's mean, scaled and shifted by its layer."""
    if matrix is None or offset is None or matrix.dtype.kind != "f" or offset.ndim != 1:
        return []
    if matrix.shape != (offset.size, offset.size) or offset.size > 512:
        return []
    return [-np.linalg.lstsq(matrix.T.astype(np.float64), offset.astype(np.float64), rcond=None)[0]]


def _axis_sizes(graph: _Graph, node: NodeProto, position: int, place: _Place) -> list[tuple[int, int]]:
    """(axis of the consumed value, size) pairs that the node demands."""
    other = graph.shape(node.input[1]) if len(node.input) > 1 else None
    values = attributes(node)
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv", "FusedConv"):
        weights = graph.shape(node.input[3]) if node.op_type == "QLinearConv" else other
        return [(1, weights[1] * values.get("group", 1))] if weights and len(weights) > 2 else []
    if node.op_type in ("MatMul", "MatMulInteger", "Gemm", "FusedMatMul") and other and len(other) >= 2:
        return [(-1, other[-1] if values.get("transB") else other[-2])]
    if node.op_type in ("LSTM", "GRU", "RNN") and other:
        return [(2, other[2])]
    if node.op_type in ("BatchNormalization", "InstanceNormalization") and other:
        return [(1, other[0])]
    if node.op_type in ("LayerNormalization", "SimplifiedLayerNormalization") and other:
        return [(-1, other[-1])]
    if node.op_type in _ELEMENTWISE and place.axes is not None:
        shape = graph.shape(node.input[1 - position]) if position < 2 and len(node.input) == 2 else None
        return [(axis - len(shape), size) for axis, size in enumerate(shape)] if shape else []
    return []
