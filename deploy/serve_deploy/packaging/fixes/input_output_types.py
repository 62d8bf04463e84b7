"""Give inputs and outputs of types that Triton cannot serve ones that it can, with casts inside of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_deploy.onnx.graph import iterate_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_GET, _HAS = "OptionalGetElement", "OptionalHasElement"

# By their numbers in onnx.proto: (type, the type that holds all its values). FP8 and BF16 → FP32, INT4 → INT8 …
_FLOAT, _INT8, _UINT8, _BFLOAT16 = 1, 3, 2, 16
_WIDER = {
    **dict.fromkeys((17, 18, 19, 20, 23, 24), _FLOAT),
    **dict.fromkeys((21, 25), _UINT8),
    **dict.fromkeys((22, 26), _INT8),
}


def widen_types(proto: ModelProto, *, bfloat16: bool) -> list[str]:
    """Cast in place what Triton cannot serve (BF16 too, on request); returns one sentence a tensor."""
    wider = {**_WIDER, **({_BFLOAT16: _FLOAT} if bfloat16 else {})}
    fixes = []
    for values, widen in ((proto.graph.input, _widen_input), (proto.graph.output, _widen_output)):
        for value in values:
            element = value.type.tensor_type.elem_type
            if element in wider:
                widen(proto, value, element, wider[element])
                fixes.append(f"'{value.name}': {_name(element)} became {_name(wider[element])}, with a cast inside")
    return fixes


def unwrap_optionals(proto: ModelProto) -> list[str]:
    """Make optional tensors among the inputs plain ones, in place, where the model only asks for what is in them."""
    fixes = []
    for value in proto.graph.input:
        plain = value.type.optional_type.elem_type
        users = [node for node in iterate_nodes(proto.graph.node) if value.name in node.input]
        if plain.HasField("tensor_type") and all(node.op_type in (_GET, _HAS) for node in users):
            for node in users:
                _read_given(node)
            value.type.CopyFrom(type(plain).FromString(plain.SerializeToString()))
            fixes.append(f"'{value.name}': made the optional tensor a plain one, which each request has to give")
    return fixes


def _read_given(node: NodeProto) -> None:
    """Let a node that reads an optional value read a tensor that is always given."""
    from onnx import TensorProto, helper

    if node.op_type == _GET:
        node.op_type = "Identity"
        return
    node.op_type = "Constant"
    del node.input[:]
    given = helper.make_tensor("given", TensorProto.BOOL, [], [True])
    node.attribute.append(helper.make_attribute("value", given))


def _name(element: int) -> str:
    import onnx

    name: str = onnx.TensorProto.DataType.Name(element)
    return name


def _widen_input(proto: ModelProto, value: ValueInfoProto, element: int, wider: int) -> None:
    inner = f"{value.name}_{_name(element).lower()}"
    for node in iterate_nodes(proto.graph.node):
        _rename(node, value.name, inner, inputs=True)
    proto.graph.node.insert(0, _cast(value.name, inner, element))
    value.type.tensor_type.elem_type = wider


def _widen_output(proto: ModelProto, value: ValueInfoProto, element: int, wider: int) -> None:
    inner = f"{value.name}_{_name(element).lower()}"
    for node in iterate_nodes(proto.graph.node):
        _rename(node, value.name, inner, inputs=True)
        _rename(node, value.name, inner, inputs=False)
    proto.graph.node.append(_cast(inner, value.name, wider))
    value.type.tensor_type.elem_type = wider


def _rename(node: NodeProto, old: str, new: str, *, inputs: bool) -> None:
    names = node.input if inputs else node.output
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _cast(source: str, target: str, element: int) -> NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [target], to=element, name=f"{target}_cast")
