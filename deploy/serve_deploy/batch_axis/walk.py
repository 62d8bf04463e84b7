"""Walk the nodes of a graph with a value for each tensor."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules import KNOWS_POSITIONS, PUTS_BACK, READS_SHAPES_ONLY, RULES
from serve_deploy.batch_axis.rules.sources import read_tensor
from serve_deploy.batch_axis.sizes import UndecidedError, counts_rows
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, RandomError, SortedError, Value, fixed
from serve_deploy.batch_axis.witness import Cause, Effect
from serve_deploy.onnx.graph import subgraphs

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

_STANDARD = ("", "ai.onnx")
_NOT_A_FORM = (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError)


@dataclass
class Walk:
    """The operator sets and functions of one model, and the tensors in sight of the graph that is walked."""

    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str], FunctionProto]
    tensors: MutableMapping[str, Value] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    found: dict[Cause, None] = field(default_factory=dict)
    sorts: dict[Cause, Cause] = field(default_factory=dict)

    @classmethod
    def through(cls, model: ModelProto) -> Walk:
        """A walk through a model, before its first node."""
        return cls(
            {each.domain or "ai.onnx": each.version for each in model.opset_import},
            {(each.domain, each.name): each for each in model.functions},
        )

    def trace_graph(self, graph: GraphProto, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a graph, or of a body of If, Loop or Scan in sight of what is around it."""
        inner = replace(self, tensors=ChainMap({}, self.tensors))
        inner.add_constants(graph)
        inner.tensors.update(zip((value.name for value in graph.input), inputs, strict=False))
        for node in graph.node:
            inner.step(node)
        return [inner.tensors.get(value.name, fixed()) for value in graph.output]

    def add_constants(self, graph: GraphProto) -> None:
        """Bring a graph's initializers into sight."""
        for tensor in graph.initializer:
            self.tensors[tensor.name] = read_tensor(tensor)
        for sparse in graph.sparse_initializer:
            self.tensors[sparse.values.name] = fixed(tuple(sparse.dims))

    def step(self, node: NodeProto) -> None:
        """Work out the outputs of one node."""
        inputs = [self.tensors.get(name) if name else None for name in node.input]
        domain = "" if node.domain in _STANDARD else node.domain
        function = self.functions.get((node.domain, node.op_type))
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        outputs = self._call_function(function, node, inputs) if function else self._apply(operator, node, inputs)
        self.tensors.update((name, value) for name, value in zip(node.output, outputs, strict=False) if name)

    def _apply(self, operator: str, node: NodeProto, inputs: Sequence[Value | None]) -> Sequence[Value]:
        present = [value for value in inputs if value is not None]
        causes: frozenset[Cause] = frozenset().union(*(value.causes for value in present))
        if causes and (operator not in READS_SHAPES_ONLY or present[0].shape is None):
            return [Value(causes=self._without_sorts(operator, present, causes))] * len(node.output)
        call = Call(
            operator,
            self.opsets.get(node.domain or "ai.onnx", 1),
            self._attributes(node),
            inputs,
            len(node.output),
            self.trace_graph,
        )
        try:
            result = _run_rule(call)
        except MixesError as error:
            effect: Effect = "unknown" if isinstance(error, NotUnderstoodError) else "mixes"
            is_constant = not any(value.rows is not None or value.counted for value in present)
            if effect == "unknown" and is_constant and not any(subgraphs(node)) and not isinstance(error, RandomError):
                return [fixed()] * len(node.output)
            cause = Cause(_name(node), operator, effect, error.reason, (), error.next_step)
            self.found[cause] = None
            if isinstance(error, SortedError):
                self.sorts[cause] = replace(
                    cause, effect="unknown", reason=f"{error.reason}, which may be undone later"
                )
                self.found[self.sorts[cause]] = None
            return [Value(causes=frozenset({cause}))] * len(node.output)
        return result

    def _without_sorts(self, operator: str, inputs: Sequence[Value], causes: frozenset[Cause]) -> frozenset[Cause]:
        """The causes, where sorts are not known to mix any more: rows may have been put back into their order."""
        undone = {cause for cause in causes if self.sorts.get(cause) in causes}
        if operator in PUTS_BACK:
            undone |= inputs[0].causes & inputs[1].causes & self.sorts.keys()
        return causes.difference(undone).union(self.sorts[cause] for cause in undone)

    def _attributes(self, node: NodeProto) -> dict[str, Any]:
        from onnx import helper

        result = {}
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                result[attribute.name] = helper.get_attribute_value(attribute)
            elif attribute.ref_attr_name in self.arguments:
                result[attribute.name] = self.arguments[attribute.ref_attr_name]
        return result

    def _call_function(
        self, function: FunctionProto, node: NodeProto, inputs: Sequence[Value | None]
    ) -> Sequence[Value]:
        """A function of the model: its body, with its own tensors, attributes and operator sets."""
        from onnx import helper

        defaults = {each.name: helper.get_attribute_value(each) for each in function.attribute_proto}
        inner = Walk(
            {**self.opsets, **{each.domain or "ai.onnx": each.version for each in function.opset_import}},
            self.functions,
            {name: value for name, value in zip(function.input, inputs, strict=False) if value is not None},
            {**defaults, **self._attributes(node)},
            self.found,
            self.sorts,
        )
        for each in function.node:
            inner.step(each)
        return [inner.tensors.get(name, fixed()) for name in function.output]


def _run_rule(call: Call) -> Sequence[Value]:
    rule = RULES.get(call.operator)
    if rule is None:
        raise NotUnderstoodError("is an operator without a rule here")
    if call.operator not in KNOWS_POSITIONS and any(value.steps for value in call.present):
        raise NotUnderstoodError("computes with the number of a row in its batch")
    try:
        result = rule(call)
    except (UndecidedError, *_NOT_A_FORM):
        raise NotUnderstoodError("is used in a form that is not understood") from None
    if any(value is not None and value.counted and index not in call.read for index, value in enumerate(call.inputs)):
        raise NotUnderstoodError("computes with the size of the batch")
    return [_counted(value, call) for value in ([result] if isinstance(result, Value) else result)]


def _counted(value: Value, call: Call) -> Value:
    """The value, marked where its shape alone makes it depend on the size of the batch."""
    if value.shape is None or value.content is not None:
        return value
    axis = None if value.rows is None else value.rows.axis
    if not any(counts_rows(size) for place, size in enumerate(value.shape) if place != axis):
        return value
    if axis is None:
        return replace(value, counted=True)
    if not any(each.shape is not None and sum(map(counts_rows, each.shape)) > 1 for each in call.present):
        raise NotUnderstoodError("makes a tensor whose size depends on the size of the batch")
    return value


def _name(node: NodeProto) -> str:
    return node.name or f"the node that makes '{next(filter(None, node.output), '')}'"
