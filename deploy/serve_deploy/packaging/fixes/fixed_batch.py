"""Free the first dimension of a model that was exported for a batch of 1; whether it then batches is for the proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.onnx.graph import attributes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

    from serve_deploy.onnx.session import OpenedModel

_BATCH = "batch"
_ALLOWZERO = "allowzero"


def free_batch(opened: OpenedModel, axes: Mapping[str, int] | None = None) -> tuple[OpenedModel, str] | None:
    """A copy with a free batch in every input and output, and a sentence on it; the batch is first but for `axes`.

    None where no input is fixed to 1, or where something else than a 1 is there.
    """
    from serve_deploy.packaging.fixes.model_fixes import reopen

    proto = opened.parse()
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    places = [(value, (axes or {}).get(value.name, 0)) for value in (*inputs, *proto.graph.output)]
    if not any(_is_fixed(*place) for place in places[: len(inputs)]) or not all(_can_be_free(*p) for p in places):
        return None
    reshaped = _free_reshapes(proto)
    for value, axis in places:
        value.type.tensor_type.shape.dim[axis].dim_param = _BATCH
    del proto.graph.value_info[:]  # the shapes of values inside say 1 as well
    names = ", ".join(f"'{value.name}'" for value in inputs)
    reshapes = f", also in {reshaped} Reshape{'s' if reshaped > 1 else ''}" if reshaped else ""
    return reopen(opened, proto), f"made the batch of {names} free, which was fixed to 1{reshapes}"


def _batch_dim(value: Any, axis: int) -> Any:
    dims = value.type.tensor_type.shape.dim
    return dims[axis] if axis < len(dims) else None


def _is_fixed(value: Any, axis: int = 0) -> bool:
    dim = _batch_dim(value, axis)
    return dim is not None and dim.HasField("dim_value") and dim.dim_value == 1


def _can_be_free(value: Any, axis: int) -> bool:
    dim = _batch_dim(value, axis)
    return dim is not None and (_is_fixed(value, axis) or not dim.HasField("dim_value") or dim.dim_value < 0)


def _free_reshapes(proto: ModelProto) -> int:
    """Let a Reshape of a batch of 1 to a literal 1 first keep its first dimension instead; returns how many do."""
    from onnx import helper, numpy_helper

    shapes = _constant_tensors(proto)
    batched = _batched_values(proto)
    count = 0
    for node in proto.graph.node:
        target = shapes.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) == 2 else None
        if target is None or node.input[0] not in batched or attributes(node).get(_ALLOWZERO):
            continue
        shape = numpy_helper.to_array(target).tolist()
        if len(shape) > 1 and shape[0] == 1:
            name = f"{node.output[0]}_shape"
            proto.graph.initializer.append(helper.make_tensor(name, target.data_type, [len(shape)], [0, *shape[1:]]))
            node.input[1] = name
            count += 1
    return count


def _constant_tensors(proto: ModelProto) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found


def _batched_values(proto: ModelProto) -> set[str]:
    """The values that depend on an input and have 1 as their first dimension."""
    from onnx import shape_inference

    typed = shape_inference.infer_shapes(proto).graph
    depending = {value.name for value in proto.graph.input} - {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if depending & set(_all_inputs(node)):
            depending.update(node.output)
    return {value.name for value in (*typed.input, *typed.value_info) if _is_fixed(value)} & depending


def _all_inputs(node: NodeProto) -> list[str]:
    from onnx.helper import get_attribute_value

    bodies = [get_attribute_value(attribute) for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for body in bodies for inner in body.node for name in inner.input)]
