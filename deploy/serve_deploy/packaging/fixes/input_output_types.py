"""Give inputs and outputs of types that Triton cannot serve ones that it can, with casts inside of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_deploy.onnx.graph import iterate_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

# By their numbers in onnx.proto: (type, the type that holds all its values). FP8 and BF16 → FP32, INT4 → INT8 …
_FLOAT, _INT8, _UINT8, _BFLOAT16 = 1, 3, 2, 16
_WIDER = {17: _FLOAT, 18: _FLOAT, 19: _FLOAT, 20: _FLOAT, 23: _FLOAT, 21: _UINT8, 22: _INT8, 25: _UINT8, 26: _INT8}


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
