"""Walk an ONNX graph: its tensors, subgraphs and consumers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def iterate_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node of a graph, those of its subgraphs (If, Loop, Scan) included."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from iterate_nodes(subgraph)


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
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
    for subgraph in subgraphs(node):
        yield from _graph_tensors(subgraph)


def needs_locale(node: NodeProto) -> bool:
    """Whether the node is a StringNormalizer that loads only where there is the locale en_US.UTF-8."""
    if node.op_type != "StringNormalizer":
        return False
    locale = next((attribute.s for attribute in node.attribute if attribute.name == "locale"), b"")
    return locale in (b"", b"en_US", b"en_US.UTF-8")
