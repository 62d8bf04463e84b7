"""Random small graphs of operators that move, mix and keep axes, grown node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

ROWS = 7  # the size of the batch while a graph grows: no other size is like it
_MOST_ELEMENTS = 4000

Draw = Callable[[st.SearchStrategy[Any]], Any]


class _Growth:
    """A graph that grows, with the shape of each of its values in a batch of ROWS."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {"x": (ROWS, 4), "z": (ROWS, 2, 3)}

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.int64), name))
        return name

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> bool:
        """Add a node, unless it is not valid or its result too large."""
        name = f"v{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [name], **attributes)
        self.nodes.append(node)
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model(name, ROWS), strict_mode=True, data_prop=True)
            shape = tuple(dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim)
        except onnx.shape_inference.InferenceError:
            shape = (0,)
        if 0 in shape or np.prod(shape, dtype=np.int64) > _MOST_ELEMENTS:
            self.nodes.pop()
            return False
        self.shapes[name] = shape
        return True

    def model(self, output: str, rows: int | str) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, *self.shapes[name][1:]])
            for name in ("x", "z")
        ]
        nodes = self._leading_to(output)
        result = helper.make_empty_tensor_value_info(output)
        result.type.tensor_type.elem_type = TensorProto.FLOAT
        graph = helper.make_graph(nodes, "random", inputs, [result], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def _leading_to(self, output: str) -> list[onnx.NodeProto]:
        """The nodes that the output needs: others may not run at another size, and mix nothing."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.append(node)
        return nodes[::-1]


@dataclass(frozen=True)
class _Step:
    """Where a graph grows: from this value, on this axis of it."""

    draw: Draw
    growth: _Growth
    value: str
    axis: int

    def pick(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def add(self, operator: str, *inputs: str | int | list[int], **attributes: Any) -> bool:
        """Add a node that takes the value, then other values by name and numbers as constants."""
        names = [each if isinstance(each, str) else self.growth.constant(each) for each in inputs]
        return self.growth.add(operator, [self.value, *names], **attributes)

    @property
    def names(self) -> list[str]:
        return list(self.growth.shapes)

    @property
    def rank(self) -> int:
        return len(self.growth.shapes[self.value])


def _slice(step: _Step) -> None:
    start, end, by = step.pick(((0, 1, 1), (1, 99, 1), (0, 2**62, 1), (-1, -99, -1), (-1, 99, 1)))
    step.add("Slice", [start], [end], [step.axis], [by])


def _reshape(step: _Step) -> None:
    inner = step.pick([2, 3, 4, 6, 8, 12])
    step.add(
        "Reshape",
        step.pick(([-1, inner], [0, -1], [inner, -1], [-1], [1, -1], [-1, 1, inner], [0, -1, inner], [-1, 2, inner])),
    )


def _size_like(step: _Step) -> None:
    """Expand or reshape by sizes that are read from another value, as exporters do."""
    growth, before = step.growth, len(step.growth.nodes)
    size, part, target = (f"{letter}{before}" for letter in "spt")
    growth.nodes += [
        helper.make_node("Shape", [step.pick(step.names)], [size]),
        helper.make_node("Gather", [size, growth.constant([step.axis])], [part]),
        helper.make_node("Concat", [part, growth.constant([-1])], [target], axis=0),
    ]
    operator = step.pick(("Reshape", "Expand"))
    if not step.add(operator, target if operator == "Reshape" else size):
        del growth.nodes[before:]


def _size_beside(step: _Step) -> None:
    """Compute with a size of another value, or take it for an end."""
    growth, before = step.growth, len(step.growth.nodes)
    size, part, number = (f"{letter}{before}" for letter in "spn")
    growth.nodes += [
        helper.make_node("Shape", [step.pick(step.names)], [size]),
        helper.make_node("Gather", [size, growth.constant([step.pick((0, -1))])], [part]),
        helper.make_node("Cast", [part], [number], to=TensorProto.FLOAT),
    ]
    is_end = step.pick((True, False))
    if not (step.add("Slice", [0], part, [step.axis]) if is_end else step.add("Div", number)):
        del growth.nodes[before:]


def _pad(step: _Step) -> None:
    some = [1 if place == step.axis else 0 for place in range(step.rank)]
    none = [0] * step.rank
    step.add("Pad", step.pick(([*some, *none], [*none, *some])))


_STEPS: tuple[Callable[[_Step], Any], ...] = (
    lambda step: step.add(step.pick(("Add", "Mul", "MatMul", "Max")), step.pick(step.names)),
    lambda step: step.add("Tanh"),
    lambda step: step.rank and step.add("Transpose", perm=step.draw(st.permutations(range(step.rank)))),
    _reshape,
    _size_like,
    _size_beside,
    _slice,
    _pad,
    lambda step: step.add("ReduceMean", [step.axis], keepdims=step.pick((0, 1))),
    lambda step: step.add("Softmax", axis=step.axis),
    lambda step: step.add("LpNormalization", axis=step.axis),
    lambda step: step.add("CumSum", step.axis),
    lambda step: step.add("Trilu"),
    lambda step: step.add("GatherElements", [[0]] if step.rank == 2 else [[[0]]], axis=step.axis),
    lambda step: step.add("Einsum", equation=step.pick(("ab->b", "ab->ba", "abc->ac", "abc->cab", "abc->abc"))),
    lambda step: step.add(
        "Einsum", step.pick(step.names), equation=step.pick(("ab,bc->ac", "ab,ac->abc", "ab,cb->ac"))
    ),
    lambda step: step.add("Concat", step.pick(step.names), axis=step.axis),
    lambda step: step.add("Gather", step.pick((0, [0, 0], -1)), axis=step.axis),
    lambda step: step.add("Unsqueeze", [step.axis]),
    lambda step: step.add("Squeeze", [step.axis]),
    lambda step: step.add("Flatten", axis=step.axis),
    lambda step: step.add("Tile", [2 if place == step.axis else 1 for place in range(step.rank)]),
)


@st.composite
def graphs(draw: Draw) -> onnx.ModelProto:
    """A model of two inputs and one output whose last nodes are drawn at random."""
    growth = _Growth()
    for _ in range(draw(st.integers(1, 8))):
        value = draw(st.sampled_from(list(growth.shapes)[-3:]))
        axis = draw(st.integers(0, max(len(growth.shapes[value]) - 1, 0)))
        draw(st.sampled_from(_STEPS))(_Step(draw, growth, value, axis))
    return growth.model(list(growth.shapes)[-1], "N")
