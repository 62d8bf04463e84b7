"""Which inputs and outputs a graph itself ties together: the state of LSTM, GRU, RNN, or of a cache. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from serve_deploy.onnx.graph import subgraphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Where a state goes in, and at which output its next value comes out.
_LSTM = {5: 1, 6: 2}
_RECURRENT = {"LSTM": _LSTM, "DynamicQuantizeLSTM": _LSTM, "GRU": {5: 1}, "RNN": {5: 1}}
# What only moves values: all of them take what they move as first input, Concat as all.
_MOVERS = {
    "Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Split", "Expand",
    "Concat",
}  # fmt: skip

# Sums and products, as of gates and leaks: the old value goes on in the new one.
_WEIGHING = {"Add", "Sub", "Mul", "Sum", "Where"}

# A place in the graph that keeps state: a node by its number, and which of its states.
Place = tuple[int, int]
_JOINED = -1


def find_ties(proto: ModelProto) -> frozenset[tuple[str, str]]:
    """The pairs of an input and an output that are one state before and after the same operators.

    Nothing is said of cells that are made of plain operators, nor of what runs inside Loop and Scan.
    """
    tracer = _Tracer({value.name for value in proto.graph.input} - {tensor.name for tensor in proto.graph.initializer})
    tracer.walk(proto.graph.node)
    goes_in: dict[str, set[Place]] = defaultdict(set)
    for place, names in tracer.entered.items():
        for name in names:
            goes_in[name].add(place)
    comes_out = {value.name: tracer.left[value.name] for value in proto.graph.output}
    return frozenset(
        (entering, leaving)
        for entering, places in goes_in.items()
        for leaving, own in comes_out.items()
        # A branch for a first call may run the same operators without any state.
        if _agree(places, {place for place in own if tracer.entered[place]})
    )


def find_weighed(proto: ModelProto) -> frozenset[tuple[str, str]]:
    """The inputs and the outputs into which they go by sums and products alone, as c into c' = f * c + i * g."""
    tracer = _Tracer({value.name for value in proto.graph.input} - {tensor.name for tensor in proto.graph.initializer})
    tracer.walk(proto.graph.node)
    return frozenset((name, value.name) for value in proto.graph.output for name in tracer.weighed[value.name])


def _agree(one: set[Place], other: set[Place]) -> bool:
    """The same recurrent operators, or where there are none, the same joins of old and new values."""
    cells = [{place for place in places if place[1] != _JOINED} for places in (one, other)]
    if any(cells):
        return cells[0] == cells[1]
    return bool(one) and one == other


class _Tracer:
    """For each tensor, the inputs that it moves or weighs, and the places that it leaves (`left`)."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self.moved: dict[str, set[str]] = defaultdict(set, {name: {name} for name in inputs})
        self.weighed: dict[str, set[str]] = defaultdict(set, {name: {name} for name in inputs})
        self.left: dict[str, set[Place]] = defaultdict(set)
        self.entered: dict[Place, set[str]] = defaultdict(set)
        self.count = 0

    def walk(self, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            self.count += 1
            if node.op_type in _RECURRENT:
                self._pass_cell(node)
            elif node.op_type in _MOVERS:
                self._pass_mover(node)
            elif node.op_type in _WEIGHING:
                self.weighed[node.output[0]] |= {origin for name in node.input for origin in self.weighed[name]}
            elif node.op_type == "If":
                self._pass_branches(node)

    def _pass_cell(self, node: NodeProto) -> None:
        for slot, output in _RECURRENT[node.op_type].items():
            place = (self.count, output)
            if slot < len(node.input):
                self.entered[place] |= self.moved[node.input[slot]]
            if output < len(node.output):
                self.left[node.output[output]].add(place)

    def _pass_mover(self, node: NodeProto) -> None:
        joined = node.input if node.op_type == "Concat" else node.input[:1]
        places = {place for name in joined for place in self.left[name]}
        moved = {origin for name in joined for origin in self.moved[name]}
        if moved and len({frozenset(self.moved[name]) for name in joined}) > 1:  # old values and new ones
            place = (self.count, _JOINED)
            self.entered[place] |= moved
            places = places | {place}
            moved = moved if all(self.moved[name] for name in joined) else set()
        for output in node.output:
            self.left[output] |= places
            self.moved[output] |= moved
            self.weighed[output] |= {origin for name in joined for origin in self.weighed[name]}

    def _pass_branches(self, node: NodeProto) -> None:
        for branch in subgraphs(node):
            self.walk(branch.node)
            for value, output in _pair_up(branch.output, node.output):
                self.left[output] |= self.left[value]
                self.moved[output] |= self.moved[value]
                self.weighed[output] |= self.weighed[value]


def _pair_up(values: Iterable[object], outputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    for value, output in zip(values, outputs, strict=False):
        yield value.name, output  # type: ignore[attr-defined]
