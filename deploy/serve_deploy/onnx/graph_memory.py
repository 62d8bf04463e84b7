"""What a graph takes of memory and in which precision it computes, from its shapes and types: nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from serve_deploy.onnx.graph import all_nodes, iterate_tensors

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

Precision = Literal["FP32", "FP16", "BF16", "INT8"]
# Shapes are computed from small constants; larger ones are weights, and inference would copy them.
_LARGEST_SHAPE_VALUES = 1024


def find_precision(model: ModelProto) -> Precision:
    """What the model computes in: INT8 where it quantises, else the type of most of its constants."""
    from onnx import TensorProto

    operators = {node.op_type for node in all_nodes(model)}
    if operators & {"QuantizeLinear", "DequantizeLinear"}:
        return "INT8"
    types: dict[int, Precision] = {TensorProto.FLOAT: "FP32", TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16"}
    sizes = dict.fromkeys(types.values(), 0)
    for tensor in iterate_tensors(model):
        if tensor.data_type in types:
            sizes[types[tensor.data_type]] += prod(tensor.dims)
    return max(sizes, key=lambda precision: sizes[precision])


def peak_activation_bytes(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The most bytes of inputs and activations that are alive at once, the nodes run in their order; weights left out.

    `shapes` are the inputs'. None where a shape or type is not known before the model runs. Changes `model`.
    """
    from onnx import shape_inference

    graph = model.graph
    weights = {tensor.name for tensor in (*graph.initializer, *(each.values for each in graph.sparse_initializer))}
    _detach_weights(graph)
    _fix_shapes(graph, shapes)
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError):
        return None
    sizes = {value.name: _size_bytes(value) for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    sizes |= dict.fromkeys(weights, 0)
    return _peak(graph, sizes)


def _detach_weights(graph: GraphProto) -> None:
    """Make inputs of the large initializers: their shapes count here, not their values."""
    from onnx import helper

    listed = {value.name for value in graph.input}
    large = [tensor for tensor in graph.initializer if prod(tensor.dims) > _LARGEST_SHAPE_VALUES]
    for tensor in large:
        if tensor.name not in listed:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph.initializer.remove(tensor)


def _fix_shapes(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for value in graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dim.dim_value = size
    # What the file says of the others holds for any size, and inference would keep it.
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _size_bytes(value: ValueInfoProto) -> int | None:
    from onnx import helper

    tensor = value.type.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return int(
        prod(dim.dim_value for dim in tensor.shape.dim) * helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    )


def _peak(graph: GraphProto, sizes: Mapping[str, int | None]) -> int | None:
    """Walk the nodes, each output alive from its node to its last reader."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        last |= dict.fromkeys(_read_by(node), index)
    last |= {value.name: len(graph.node) for value in graph.output}
    alive = {value.name: sizes.get(value.name) for value in graph.input}
    peak = 0
    for index, node in enumerate(graph.node):
        alive |= {name: sizes.get(name) for name in node.output if name}
        if None in alive.values():
            return None
        peak = max(peak, sum(size or 0 for size in alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > index}
    return peak


def _read_by(node: Any) -> Iterable[str]:
    """The names that a node reads, those that its subgraphs read from outside included."""
    from serve_deploy.onnx.graph import iterate_nodes, subgraphs

    inner = (name for graph in subgraphs(node) for each in iterate_nodes(graph.node) for name in each.input)
    return (*node.input, *inner)
