"""Which inputs are states, and which outputs their next values."""

from __future__ import annotations

import pytest

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.implicit_state.pairing import find_pairs
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec


def tensor(name: str, *shape: int, data_type: DataType = DataType.FP32) -> TensorSpec:
    return TensorSpec(name, data_type, shape)


def signature(inputs: str, outputs: str, *shape: int) -> ModelSignature:
    """Tensors by their names, all of one shape beside x and y."""
    state = shape or (2, -1, 8)
    return ModelSignature(
        (tensor("x", -1, 4), *(tensor(name, *state) for name in inputs.split())),
        (tensor("y", -1, 4), *(tensor(name, *state) for name in outputs.split())),
    )


def found(pairs: object) -> dict[str, tuple[str, str]]:
    return {pair.input.name: (pair.output.name, pair.evidence) for pair in pairs}  # type: ignore[attr-defined]


def test_names_alone_are_said_to_be_names_alone() -> None:
    """Two states of one type and shape could be taken for each other."""
    assert found(find_pairs(signature("h c", "hn cn"), {}, ())) == {"h": ("hn", "names"), "c": ("cn", "names")}


def test_what_the_graph_settles_leaves_one_for_the_rest() -> None:
    """The other state has no rival any more."""
    pairs = find_pairs(signature("h c", "hn cn"), {}, (), {("c", "cn")})
    assert found(pairs) == {"h": ("hn", "left"), "c": ("cn", "weighed")}


def test_a_type_and_shape_that_nothing_else_has_is_evidence() -> None:
    """A single state has no rival."""
    assert found(find_pairs(signature("state", "stateN"), {}, ())) == {"state": ("stateN", "types")}


def test_the_graph_finds_states_without_telling_names() -> None:
    """As exporters call them that have no convention."""
    ties = {("a", "p"), ("b", "q")}
    assert found(find_pairs(signature("a b", "q p"), {}, ties)) == {"a": ("p", "graph"), "b": ("q", "graph")}


def test_a_window_is_not_what_moves_into_it() -> None:
    """The graph ties both to the next window; its name says which of them is kept."""
    model = ModelSignature((tensor("x", -1, 4), tensor("buffer", -1, 4)), (tensor("buffer_out", -1, 4),))
    ties = {("x", "buffer_out"), ("buffer", "buffer_out")}
    assert found(find_pairs(model, {}, ties)) == {"buffer": ("buffer_out", "graph")}


def test_a_name_is_given_by_hand() -> None:
    """It is said that nothing else tells."""
    pairs = find_pairs(signature("a b", "p q"), {"a": "q", "b": "p"}, ())
    assert found(pairs) == {"a": ("q", "given"), "b": ("p", "given")}


def test_an_input_that_clients_send_is_no_state() -> None:
    """Whatever it is called."""
    assert found(find_pairs(signature("h c", "hn cn"), {"c": ""}, ())) == {"h": ("hn", "names")}


@pytest.mark.parametrize(
    ("inputs", "outputs", "given", "ties", "words"),
    [
        ("state", "state_out stateN", {}, (), "'state' could go on as 'state_out' or 'stateN'"),
        ("h c", "hn cn", {}, {("h", "cn"), ("c", "hn")}, "'h' could go on as 'hn' or 'cn'"),
        ("h c", "hn z", {}, (), "'c' is called like a state, but no output .* it could be 'hn' or 'z'"),
        ("h0 h", "hn", {}, (), "'hn' would be the next value of both 'h0' and 'h'"),
        ("h c", "hn cn", {"h": "cn"}, {("h", "hn")}, "in the graph, 'h' goes on as 'hn'"),
        ("h", "hn", {"h": "ho"}, (), "the model has no output 'ho'"),
        ("h", "hn", {"g": "hn"}, (), "the model has no input 'g'"),
        ("h", "hn", {"h": "y"}, (), "cannot become y FP32"),
    ],
)
def test_what_is_not_settled_is_refused_by_name(
    inputs: str, outputs: str, given: dict[str, str], ties: set[tuple[str, str]], words: str
) -> None:
    """With the option that settles it."""
    with pytest.raises(UsageError, match=words) as refused:
        find_pairs(signature(inputs, outputs), given, ties)
    assert refused.value.hint


def test_a_model_without_a_state_is_refused() -> None:
    """All of its tensors are listed."""
    with pytest.raises(InvalidModelError, match=r"no state was found.*x FP32 \[-1, 4\]"):
        find_pairs(signature("", ""), {}, ())


def test_another_type_is_no_next_value() -> None:
    """Triton would copy its bytes all the same."""
    model = ModelSignature((tensor("h", 2, -1, 8),), (tensor("hn", 2, -1, 8, data_type=DataType.FP16),))
    with pytest.raises(UsageError, match="no output is called like its next value"):
        find_pairs(model, {}, ())
