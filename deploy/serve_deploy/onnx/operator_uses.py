"""Which operators a model runs, in which versions and with which types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serve_deploy.kernels import KernelTable, OperatorUse, read_table
from serve_deploy.onnx.graph import iterate_tensors, subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TypeProto

Formals = tuple[Sequence[str], Sequence[str]]

_LARGE_BYTES = 1024


def list_operator_uses(model: ModelProto) -> tuple[OperatorUse, ...]:
    """Every node of the model, its subgraphs and its functions; large constants are dropped from `model` on the way."""
    from onnx import inliner

    for tensor in iterate_tensors(model):
        if len(tensor.raw_data) > _LARGE_BYTES:
            tensor.ClearField("raw_data")
    if model.functions:
        model = inliner.inline_local_functions(model)
    opsets = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in model.opset_import}
    return tuple(_Walk(opsets, read_table()).graph(model.graph, {}))


class _Walk:
    """One pass through a model; `types` has what is known of its values."""

    def __init__(self, opsets: Mapping[str, int], table: KernelTable) -> None:
        self.opsets, self.table = opsets, table

    def graph(self, graph: GraphProto, outer: Mapping[str, TypeProto]) -> Iterator[OperatorUse]:
        """The uses of a graph, whose values join those around it."""
        types = {**outer, **_declared_types(graph)}
        for node in graph.node:
            for subgraph in subgraphs(node):
                _bind_body(node, subgraph, types)
                yield from self.graph(subgraph, types)
            yield self.node(node, types)
        for value in graph.output:
            if name_type(value.type) is None and value.name in types:
                value.type.CopyFrom(types[value.name])

    def node(self, node: NodeProto, types: dict[str, TypeProto]) -> OperatorUse:
        """The use of one node; adds the types of its outputs."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        schema = _find_schema(node.op_type, domain, self.opsets.get(domain, 1))
        formals = _formals(schema) if schema else self.table.formals(domain, node.op_type)
        if formals is None:
            return OperatorUse(domain, node.op_type, 0)
        self.type_outputs(node, schema, formals, types)
        bound: dict[str, set[str | None]] = {}
        for names, constraints in zip((node.input, node.output), formals, strict=True):
            for constraint, name in _pair(constraints, names):
                bound.setdefault(constraint, set()).add(name_type(types[name]) if name in types else None)
        since = schema.since_version if schema else 1
        bindings = frozenset((constraint, frozenset(found)) for constraint, found in bound.items())
        return OperatorUse(domain, node.op_type, since, bindings, _plain_attributes(node))

    def type_outputs(self, node: NodeProto, schema: Any, formals: Formals, types: dict[str, TypeProto]) -> None:
        """Type a node's outputs: by its body, by the constraint shared with an input, or by the operator's own rule."""
        for body in subgraphs(node):
            for name, value in zip(node.output, list(body.output)[node.op_type == "Loop" :], strict=False):
                if name_type(value.type) is not None:
                    types.setdefault(name, value.type)
        bound = {constraint: types[name] for constraint, name in _pair(formals[0], node.input) if name in types}
        for constraint, name in _pair(formals[1], node.output):
            if name not in types and constraint in bound and not any(subgraphs(node)):
                types[name] = bound[constraint]
            elif name not in types and constraint.startswith("tensor("):
                types[name] = _parse_tensor_type(constraint)
        if schema is not None and any(name and name not in types for name in node.output):
            types |= _infer_outputs(node, schema, types, self.opsets)


def _find_schema(name: str, domain: str, opset: int) -> Any:
    from onnx import defs

    try:
        return defs.get_schema(name, opset, domain)
    except defs.SchemaError:
        return None


def _plain_attributes(node: NodeProto) -> frozenset[tuple[str, int | str]]:
    return frozenset(
        (a.name, a.i if a.type == a.INT else a.s.decode(errors="replace"))
        for a in node.attribute
        if a.type in (a.INT, a.STRING)
    )


def _declared_types(graph: GraphProto) -> dict[str, TypeProto]:
    from onnx import helper

    types = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if name_type(value.type) is not None:
            types[value.name] = value.type
    for tensor in graph.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, None)
    for sparse in graph.sparse_initializer:
        types[sparse.values.name] = helper.make_tensor_type_proto(sparse.values.data_type, None)
    return types


def _bind_body(node: NodeProto, body: GraphProto, types: dict[str, TypeProto]) -> None:
    """Give the untyped inputs of a Loop's or Scan's body the types of what the node hands in."""
    offset = 0 if node.op_type == "Loop" or len(node.input) == len(body.input) else len(node.input) - len(body.input)
    for value, name in zip(body.input, list(node.input)[offset:], strict=False):
        if name_type(value.type) is None and name in types:
            value.type.CopyFrom(types[name])


def _formals(schema: Any) -> tuple[list[str], list[str]]:
    return [f.type_str for f in schema.inputs], [f.type_str for f in schema.outputs]


def _pair(constraints: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each value with its constraint; the last one is that of all further values of a variadic operator."""
    for index, name in enumerate(names):
        if name and constraints:
            yield constraints[min(index, len(constraints) - 1)], name


def _infer_outputs(
    node: NodeProto, schema: Any, types: Mapping[str, TypeProto], opsets: Mapping[str, int]
) -> dict[str, TypeProto]:
    from onnx import helper, shape_inference

    known = {name: types[name] for name in node.input if name in types}
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        inferred: dict[str, TypeProto] = shape_inference.infer_node_outputs(schema, node, known, opset_imports=imports)
    except Exception:  # noqa: BLE001 - what it cannot infer it refuses in many ways
        return {}
    return {name: found for name, found in inferred.items() if name and name_type(found) is not None}


def name_type(proto: TypeProto) -> str | None:
    """A type as operator schemas write it, such as seq(tensor(int64)); None where it is not complete."""
    match proto.WhichOneof("value"):
        case "tensor_type" if proto.tensor_type.elem_type:
            return f"tensor({_element(proto.tensor_type.elem_type)})"
        case "sparse_tensor_type":
            return f"sparse_tensor({_element(proto.sparse_tensor_type.elem_type)})"
        case "sequence_type":
            return _around("seq", name_type(proto.sequence_type.elem_type))
        case "optional_type":
            return _around("optional", name_type(proto.optional_type.elem_type))
        case "map_type":
            value = name_type(proto.map_type.value_type)
            key = _element(proto.map_type.key_type)
            return f"map({key}, {value.removeprefix('tensor(').removesuffix(')')})" if value else None
    return None


def _around(kind: str, inner: str | None) -> str | None:
    return f"{kind}({inner})" if inner else None


def _element(number: int) -> str:
    import onnx

    return str(onnx.TensorProto.DataType.Name(number)).lower()


def _parse_tensor_type(text: str) -> TypeProto:
    """A tensor's type by its name in schemas."""
    import onnx
    from onnx import helper

    return helper.make_tensor_type_proto(onnx.TensorProto.DataType.Value(text[len("tensor(") : -1].upper()), None)
