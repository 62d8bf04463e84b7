"""Walk an ONNX graph: its nodes, subgraphs and constants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def iterate_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes, and those of their subgraphs (If, Loop, Scan)."""
    for node in nodes:
        yield node
        for subgraph in subgraphs(node):
            yield from iterate_nodes(subgraph.node)


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of a model, those of its functions included."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from iterate_nodes(nodes)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values, but for graphs."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute if not (a.HasField("g") or a.graphs)}


def iterate_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant tensor of a model: initializers and attributes, in subgraphs and functions too."""
    graphs = [model.graph]
    sparse = []
    for node in all_nodes(model):
        graphs += subgraphs(node)
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            sparse.append(attribute.sparse_tensor)
    for graph in graphs:
        yield from graph.initializer
        sparse += graph.sparse_initializer
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def needs_locale(node: NodeProto) -> bool:
    """Whether the node is a StringNormalizer that loads only where there is the locale en_US.UTF-8."""
    return node.op_type == "StringNormalizer" and attributes(node).get("locale", b"") in (b"", b"en_US", b"en_US.UTF-8")
