"""Rewrite a copy of a model so that Triton can keep its states: batch first, in sorted order, never empty.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.implicit_state.layout import State
from serve_deploy.onnx.graph import iterate_nodes
from serve_deploy.onnx.session import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class ServedState:
    """A state as the served file has it; `state` is the one of the model as it was exported.

    With `batch_first` its batch was moved to axis 0. With `padded` it starts with one entry that the model does not
    see, since Triton keeps nothing that is empty.
    """

    state: State
    input: str
    output: str
    batch_first: bool = False
    padded: bool = False

    @property
    def axes(self) -> tuple[int, ...]:
        """The model's axes in the order that the served file has them in."""
        axes = list(range(len(self.state.shape)))
        if self.batch_first and self.state.batch_axis is not None:
            axes.insert(0, axes.pop(self.state.batch_axis))
        return tuple(axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape for one sequence; -1 where it grows."""
        return tuple(self.state.shape[axis] for axis in self.axes)

    @property
    def first_shape(self) -> tuple[int, ...]:
        """The shape of its first value."""
        return tuple(1 if size == -1 else size for size in self.shape)

    def to_served(self, array: Array) -> Array:
        """The model's own value as the served file takes it."""
        moved = array.transpose(self.axes)
        if not self.padded:
            return moved
        axis = self.shape.index(-1)
        zeros = np.zeros([1 if place == axis else size for place, size in enumerate(moved.shape)], moved.dtype)
        return np.concatenate([zeros, moved], axis=axis)


def sort_differs(states: Sequence[tuple[str, str]]) -> bool:
    """Whether Triton would mix states up: it pairs their inputs and outputs by sorted name (core: SequenceStates)."""
    names = sorted(states)
    return [output for _input, output in names] != sorted(output for _input, output in states)


def serve_as_they_are(states: Sequence[State]) -> tuple[ServedState, ...]:
    """The states of a file that is not changed."""
    return tuple(ServedState(state, state.input, state.output) for state in states)


def wrap_states(proto: ModelProto, states: Sequence[State], *, batch_first: bool) -> tuple[ServedState, ...]:
    """Put the nodes around the states of a graph, in place, that a served file needs, and return how it has them.

    The model's own names stay inside, where bodies of If and Loop may read them.
    """
    digits = len(str(len(states) - 1))
    names = _all_names(proto)
    served = [
        ServedState(
            state,
            _fresh(f"state_{index:0{digits}}", names),
            _fresh(f"next_state_{index:0{digits}}", names),
            batch_first=batch_first and state.batch_axis not in (None, 0),
            padded=state.grows is not None,
        )
        for index, state in enumerate(states)
    ]
    before = [node for each in served for node in _enter(proto, each)]
    after = [node for each in served for node in _leave(proto, each)]
    nodes = [*before, *proto.graph.node, *after]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return tuple(served)


def _all_names(proto: ModelProto) -> set[str]:
    named = {value.name for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer)}
    return named | {name for node in iterate_nodes(proto.graph.node) for name in (*node.input, *node.output)}


def _fresh(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name


def _enter(proto: ModelProto, served: ServedState) -> list[NodeProto]:
    """From the served input to the tensor that the model calls its own."""
    from onnx import helper

    value = next(value for value in proto.graph.input if value.name == served.state.input)
    _rename(value, served, served.input)
    nodes, name = [], served.input
    if served.padded:
        bounds = {"starts": 1, "ends": _TO_THE_END, "axes": served.shape.index(-1)}
        inputs = [_constant(proto, f"{served.input}_{what}", [number]) for what, number in bounds.items()]
        nodes.append(helper.make_node("Slice", [name, *inputs], [f"{served.input}_filled"]))
        name = f"{served.input}_filled"
    own = served.state.input
    back = [served.axes.index(axis) for axis in range(len(served.axes))]
    nodes.append(
        helper.make_node("Transpose", [name], [own], perm=back)
        if served.batch_first
        else helper.make_node("Identity", [name], [own])
    )
    return nodes


def _leave(proto: ModelProto, served: ServedState) -> list[NodeProto]:
    from onnx import helper

    value = next(value for value in proto.graph.output if value.name == served.state.output)
    _rename(value, served, served.output)
    own, moved = served.state.output, f"{served.output}_moved" if served.padded else served.output
    nodes = [
        helper.make_node("Transpose", [own], [moved], perm=served.axes)
        if served.batch_first
        else helper.make_node("Identity", [own], [moved])
    ]
    if served.padded:
        shape = [1 if size == -1 else size for size in served.shape]
        zeros = np.zeros(shape, dtype=served.state.first.dtype)
        padding = _constant(proto, f"{served.output}_padding", zeros)
        nodes.append(helper.make_node("Concat", [padding, moved], [served.output], axis=served.shape.index(-1)))
    return nodes


def _constant(proto: ModelProto, name: str, value: object) -> str:
    from onnx import numpy_helper

    array = value if isinstance(value, np.ndarray) else np.array(value, dtype=np.int64)
    proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _rename(value: ValueInfoProto, served: ServedState, name: str) -> None:
    """Call a graph's input or output by another name, and declare the served shape."""
    dims = [type(dim).FromString(dim.SerializeToString()) for dim in value.type.tensor_type.shape.dim]
    value.name = name
    if len(dims) != len(served.axes):
        return
    del value.type.tensor_type.shape.dim[:]
    for axis in served.axes:
        dim = value.type.tensor_type.shape.dim.add()
        dim.CopyFrom(dims[axis])
        if axis == served.state.grows:
            dim.Clear()
            dim.dim_param = f"{name}_length"
