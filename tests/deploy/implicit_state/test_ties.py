"""Which states the operators of a graph tie together."""

from __future__ import annotations

import onnx
import pytest
from recurrent_models import CACHE, CELL, parse, recurrent_model

from serve_deploy.implicit_state.ties import find_ties, find_weighed


@pytest.mark.parametrize("operator", ["GRU", "RNN"])
def test_a_cell_ties_its_state(operator: str) -> None:
    """Whatever the tensors are called."""
    assert find_ties(recurrent_model(operator, (("a", "b"),))) == {("a", "b")}


def test_an_lstm_ties_each_of_its_states() -> None:
    """Names that lie do not matter."""
    model = recurrent_model(states=(("h", "cn"), ("c", "hn")))
    assert find_ties(model) == {("h", "cn"), ("c", "hn")}


def test_a_cache_is_tied_by_what_is_joined_to_it() -> None:
    """Keys to keys, values to values, and the new keys to both."""
    pairs = {(f"past_key_values_0_{kind}", f"present_0_{kind}") for kind in ("key", "value")}
    assert find_ties(parse(CACHE)) == pairs | {("x", "present_0_key")}


def test_layers_are_split_and_joined_around_their_cells() -> None:
    """As exporters do with two layers, one of which runs within If."""
    model = recurrent_model("GRU", (("h", "hn"),))
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["state"], ["inner"])], "then", [],
        [onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = model.graph.node
    cell = next(node for node in nodes if node.op_type == "GRU")
    cell.input[5], cell.output[1] = "chosen", "own"
    choice = onnx.helper.make_node("If", ["first"], ["chosen"], then_branch=body, else_branch=body)
    around = [onnx.helper.make_node("Identity", ["h"], ["state"]), choice]
    kept = [*around, *nodes, onnx.helper.make_node("Concat", ["own"], ["hn"], axis=0)]
    del nodes[:]
    nodes.extend(kept)
    assert find_ties(model) == {("h", "hn")}


def test_a_cell_of_plain_operators_ties_nothing() -> None:
    """It weighs its old values: the cell's own goes on, the hidden one does not."""
    assert find_ties(parse(CELL)) == frozenset()
    assert find_weighed(parse(CELL)) == {("c", "c_out")}
