"""Sequences run as Triton runs them show what is mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from recurrent_models import BATCH_FIRST, MIXES_ROWS, SORTED_OTHERWISE, parse, recurrent_model

from serve_deploy.errors import VerificationError
from serve_deploy.implicit_state.chunks import find_mapping, record
from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.proof import find_idle_states, prove_sequences, record_sequences
from serve_deploy.implicit_state.wrapping import ServedState, serve_as_they_are, sort_differs, wrap_states
from serve_deploy.onnx.session import Arrays, Run, open_model
from serve_deploy.tensors.types import DataType

BATCH = 4


def state(entering: str, leaving: str, *shape: int, batch_axis: int = 0) -> State:
    return State(entering, leaving, DataType.FP32, shape, batch_axis, None, "names")


def run_of(model: onnx.ModelProto | str, folder: Path) -> Run:
    path = folder / f"{len(list(folder.iterdir()))}.onnx"
    onnx.save(parse(model) if isinstance(model, str) else model, path)
    return open_model(path).run


def make_step(number: int, step: int, _length: int) -> Arrays:
    return {"x": np.random.default_rng([number, step]).normal(size=(1, 3)).astype(np.float32)}


def prove(own: Run, served: Run, states: tuple[ServedState, ...], batch: int = BATCH) -> float:
    """The largest difference between sequences in hand and as Triton runs them."""
    first = {each.state.input: each.state.first for each in states}
    sequences = record_sequences(own, [each.state for each in states], make_step, BATCH, 10, first)
    return prove_sequences(served, states, sequences, batch, first).largest_difference


def test_sequences_side_by_side_are_those_in_hand(tmp_path: Path) -> None:
    """Each of them keeps its own state."""
    run = run_of(BATCH_FIRST, tmp_path)
    assert prove(run, run, serve_as_they_are([state("state", "state_out", 1, 3)])) < 1e-6


def test_states_that_sort_otherwise_are_mixed_up(tmp_path: Path) -> None:
    """As in Triton, which answers with 200; two requests would not show it."""
    pairs = [("state", "state_next"), ("state_len", "state_len_next")]
    assert sort_differs(pairs)
    run = run_of(SORTED_OTHERWISE, tmp_path)
    with pytest.raises(VerificationError, match="request 3 of a sequence"):
        prove(run, run, serve_as_they_are([state(*pair, 1, 3) for pair in pairs]), batch=0)


def test_rows_that_influence_each_other_show(tmp_path: Path) -> None:
    """Only where several sequences share a batch."""
    run, states = run_of(MIXES_ROWS, tmp_path), serve_as_they_are([state("state", "state_out", 1, 3)])
    assert prove(run, run, states, batch=0) < 1e-6
    with pytest.raises(VerificationError, match="in a batch of"):
        prove(run, run, states)


def test_a_state_that_nothing_depends_on_is_found(tmp_path: Path) -> None:
    """Its mapping cannot be wrong, and cannot be proven."""
    run = run_of(SORTED_OTHERWISE.replace("y = Sub(state_len_next, state_next)", "y = Neg(state_next)"), tmp_path)
    states = [state("state", "state_next", 1, 3), state("state_len", "state_len_next", 1, 3)]
    first = {each.input: each.first for each in states}
    (sequence,) = record_sequences(run, states, make_step, 1, 5, first)
    assert find_idle_states(run, states, sequence, first) == ("state_len",)


@pytest.mark.parametrize("given", [("hn", "cn"), ("cn", "hn")])
def test_runs_find_the_mapping_whatever_was_given(given: tuple[str, str], tmp_path: Path) -> None:
    """The pieces of a sequence end as the whole of it, with one mapping only."""
    run = run_of(recurrent_model(), tmp_path)
    states = [state(entering, leaving, 1, 1, 6, batch_axis=1) for entering, leaving in zip("hc", given, strict=True)]
    samples = [{"x": np.random.default_rng(seed).normal(size=(1, 3, 4)).astype(np.float32)} for seed in range(4)]
    found = find_mapping(run, states, [lambda count: record(samples, {"x": 1}, count)])
    assert found
    assert found.outputs == {"h": "hn", "c": "cn"}


def test_a_copy_keeps_names_that_bodies_read(tmp_path: Path) -> None:
    """If reads the state from outside, and a tensor of the model has the name that the copy would take."""
    model = parse(
        """(float[B,3] x, float[2,B,3] state) => (float[B,3] y, float[2,B,3] state_out) {
            total = ReduceSum(x)
            zero = Constant<value_float=0.0>()
            positive = Greater(total, zero)
            state_0 = If(positive) <
                then_branch = then_graph () => (float[2,B,3] kept) { kept = Identity(state) },
                else_branch = else_graph () => (float[2,B,3] turned) { turned = Neg(state) }
            >
            half = Constant<value_float=0.5>()
            less = Mul(state_0, half)
            state_out = Add(less, x)
            axis = Constant<value_ints=[0]>()
            y = ReduceSum<keepdims=0>(state_out, axis)
        }"""
    )
    own = run_of(model, tmp_path)
    states = wrap_states(model, [state("state", "state_out", 2, 1, 3, batch_axis=1)], batch_first=True)
    assert states[0].input == "state_0_"
    assert prove(own, run_of(model, tmp_path), states, batch=1) < 1e-6
