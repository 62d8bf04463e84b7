"""Implicit state that Triton loads without a word, and then serves wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_deploy.model_config import parse_config
from serve_deploy.model_config.rules.state import check_state_traps, compare_states
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

ZEROS = 'initial_state { name: "zeros" data_type: TYPE_FP32 dims: [4] zero_data: true }'
SIGNATURE = ModelSignature(
    (TensorSpec("h", DataType.FP32, (-1, 4)),),
    (
        TensorSpec("hn", DataType.FP32, (-1, 4)),
        TensorSpec("half", DataType.FP16, (-1, 4)),
        TensorSpec("second", DataType.FP32, (2, -1, 4)),
    ),
)


def state(entering: str = "h", leaving: str = "hn", dims: str = "[4]", more: str = ZEROS) -> str:
    """One state of config.pbtxt."""
    return f'state {{ input_name: "{entering}" output_name: "{leaving}" data_type: TYPE_FP32 dims: {dims} {more} }}'


def config(states: str, rest: str = "max_batch_size: 8") -> Any:
    """A configuration with these states."""
    return parse_config(f"{rest} sequence_batching {{ {states} }}", Path("config.pbtxt"))


def test_states_in_order_with_zeros_are_in_order() -> None:
    """As serve package writes them."""
    assert list(check_state_traps(config(state("c", "cn") + state("h", "hn")))) == []


@pytest.mark.parametrize(
    ("states", "rest", "words"),
    [
        (state("x", "x_next") + state("x_len", "x_len_next"), "max_batch_size: 8", "'x' gets what 'x_len_next' gave"),
        (state(), 'max_batch_size: 8 output { name: "hn" }', "'hn' is listed as an output, too"),
        (state(), 'max_batch_size: 8 input { name: "h" }', "'h' is listed as an input, too"),
        (state(dims="[-1]"), "max_batch_size: 8", "'h' grows: sequences of different lengths"),
        (state(dims="[0]"), "max_batch_size: 0", "every request will fail"),
        (state(), "max_batch_size: 8 model_warmup { batch_size: 1 }", "a warm-up request has no state"),
        (state(more=f"{ZEROS} use_growable_memory: true"), "max_batch_size: 8", "growable memory needs"),
        (state(more=""), "max_batch_size: 8", "'h' has no initial_state: it starts from uninitialised memory"),
    ],
)
def test_a_trap_is_named(states: str, rest: str, words: str) -> None:
    """Each of them loads in Triton, but for the warm-up."""
    (problem,) = check_state_traps(config(states, rest))
    assert words in problem.message
    assert problem.fix


def test_a_model_that_is_told_of_the_start_may_reset_itself() -> None:
    """Then its first state is not read."""
    start = 'control_input { name: "START" control { int32_false_true: [0, 1] } }'
    assert list(check_state_traps(config(start + state(more="")))) == []


def test_states_that_fit_their_model_fit() -> None:
    """Dims are without the batch."""
    assert list(compare_states(config(state()), SIGNATURE)) == []


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (state("g"), "the model has no input 'g'"),
        (state(leaving="hm"), "the model has no output 'hm'"),
        (state(leaving="half"), "'half' is TYPE_FP32 here, TYPE_FP16 in the model"),
        (state(leaving="second"), "states are stacked on axis 0"),
        (state(dims="[5]"), "'h' is [-1, 4] in the model, [-1, 5] here with the batch"),
    ],
)
def test_states_that_do_not_fit_their_model_are_named(states: str, words: str) -> None:
    """Triton loads them, and every request fails."""
    problems = list(compare_states(config(states), SIGNATURE))
    assert words in problems[0].message
