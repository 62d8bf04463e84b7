"""Cut sequence and map outputs of an ONNX graph down to the tensors that they are made of.                     pure"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from serve_deploy.onnx.graph import attributes
from serve_deploy.packaging.labels import LABELS_KEY

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto


def cut_outputs(proto: ModelProto, names: list[str]) -> tuple[list[str], list[str]]:
    """Replace the named outputs in place; returns one sentence a fix, and the names that cannot be replaced."""
    fixes, left = [], []
    for name in names:
        node = next((node for node in proto.graph.node if name in node.output), None)
        fix = _cut(proto, name, node) if node is not None else None
        fixes.extend([fix] if fix else [])
        left.extend([] if fix else [name])
    return fixes, left


def _cut(proto: ModelProto, name: str, node: NodeProto) -> str | None:
    match node.op_type:
        case "ZipMap":
            labels = _zipmap_labels(node)
            _note_labels(proto, name, labels)
            _replace(proto, name, node, [_tensor(proto, name, node.input[0], (None, len(labels) or None))])
            return f"output '{name}': cut the ZipMap off, so that it is a tensor of one score a class"
        case "SequenceConstruct":
            tensors = [_tensor(proto, f"{name}_{i}", source) for i, source in enumerate(node.input)]
            _replace(proto, name, node, tensors)
            return f"output '{name}': split the sequence into {', '.join(repr(t.name) for t in tensors)}"
        case "SplitToSequence" | "Optional" | "Identity" if node.input and _is_tensor(proto, node.input[0]):
            _replace(proto, name, node, [_tensor(proto, name, node.input[0])])
            return f"output '{name}': return the tensor that the {node.op_type} was made of"
    return None


def _zipmap_labels(node: NodeProto) -> list[str]:
    values = attributes(node)
    known = values.get("classlabels_strings") or values.get("classlabels_int64s") or []
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in known]


def _note_labels(proto: ModelProto, name: str, labels: list[str]) -> None:
    """Keep the class names that only the ZipMap knew in the model's metadata."""
    if not labels:
        return
    entry = next((entry for entry in proto.metadata_props if entry.key == LABELS_KEY), None)
    if entry is None:
        entry = proto.metadata_props.add(key=LABELS_KEY, value="{}")
    entry.value = json.dumps({**json.loads(entry.value), name: labels})


def _is_tensor(proto: ModelProto, name: str) -> bool:
    known = _value_info(proto, name)
    return known is None or known.type.WhichOneof("value") == "tensor_type"


def _value_info(proto: ModelProto, name: str) -> ValueInfoProto | None:
    graph = proto.graph
    return next((v for v in (*graph.value_info, *graph.input, *graph.output) if v.name == name), None)


def _tensor(proto: ModelProto, name: str, source: str, shape: tuple[int | None, ...] | None = None) -> ValueInfoProto:
    """Declare an output of the source's type, and add the node that hands the source on under that name."""
    from onnx import TensorProto, helper, shape_inference

    inferred = shape_inference.infer_shapes(proto)
    known = _value_info(inferred, source)
    element = known.type.tensor_type.elem_type if known is not None else TensorProto.FLOAT
    value = helper.make_tensor_value_info(name, element or TensorProto.FLOAT, shape)
    if known is not None and known.type.tensor_type.HasField("shape"):
        value.type.tensor_type.shape.CopyFrom(known.type.tensor_type.shape)
    proto.graph.node.append(helper.make_node("Identity", [source], [name], name=f"{name}_tensor"))
    return value


def _replace(proto: ModelProto, name: str, node: NodeProto, values: list[ValueInfoProto]) -> None:
    """Put the values in the old output's place, and remove the node that made it."""
    outputs = [v for output in proto.graph.output for v in (values if output.name == name else [output])]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    proto.graph.node.remove(node)
