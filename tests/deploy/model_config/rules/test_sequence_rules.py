"""What is said of sequences: where a value stops being legal, and in which words."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import check_config, parse_config

BATCHED = (
    'backend: "python" max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 3 } '
    'output { name: "y" data_type: TYPE_FP32 dims: 3 } '
)
ZERO = '{ name: "zero" data_type: TYPE_FP32 dims: 2 zero_data: true }'
STATE = 'input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: 2'


def find_messages(sequences: str) -> list[str]:
    return [problem.message for problem in check_config(parse_config(f"{BATCHED} sequence_batching {{ {sequences} }}"))]


def control(values: str) -> str:
    return f'control_input {{ name: "c" control {{ kind: CONTROL_SEQUENCE_READY {values} }} }}'


@pytest.mark.parametrize(("size", "is_legal"), [(-1, False), (0, False), (1, True), (4, True), (5, False)])
def test_a_preferred_batch_has_from_one_row_to_the_largest_batch(size: int, is_legal: bool) -> None:
    """Both included."""
    said = find_messages(f"oldest {{ preferred_batch_size: {size} }}")
    assert said == ([] if is_legal else [f"{size} is not between 1 and max_batch_size (4)"])


@pytest.mark.parametrize(
    ("share", "is_legal"), [("-0.01", False), ("0", True), ("0.5", True), ("1", True), ("1.01", False)]
)
def test_slots_are_used_from_not_at_all_to_all(share: str, is_legal: bool) -> None:
    """A share, both ends included."""
    said = find_messages(f"direct {{ minimum_slot_utilization: {share} }}")
    assert said == ([] if is_legal else [f"{share} is not between 0 and 1"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("", "CONTROL_SEQUENCE_READY has no values"),
        ("fp32_false_true: 1", "fp32_false_true of CONTROL_SEQUENCE_READY has 1 value"),
        ("bool_false_true: [0, 1, 1]", "bool_false_true of CONTROL_SEQUENCE_READY has 3 values"),
        (
            "int32_false_true: [0, 1] fp32_false_true: [0, 1]",
            "CONTROL_SEQUENCE_READY has values of int32_false_true and fp32_false_true",
        ),
    ],
)
def test_a_control_has_one_value_for_false_and_one_for_true(values: str, message: str) -> None:
    """Of one type."""
    assert find_messages(control(values)) == [message]


@pytest.mark.parametrize("name", ["int32_false_true", "fp32_false_true", "bool_false_true"])
def test_the_values_of_a_control_are_of_any_of_three_types(name: str) -> None:
    """Two of them."""
    assert find_messages(control(f"{name}: [0, 1]")) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_state_begins_in_one_way_at_most(count: int) -> None:
    """Each of which is legal by itself."""
    said = find_messages(f"state {{ {STATE} {f'initial_state {ZERO} ' * count} }}")
    assert said == ([] if count < 2 else [f"it has {count} initial states"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TYPE_FP32", "TYPE_INT32", "it is TYPE_INT32, the state is TYPE_FP32"),
        ("dims: 2", "dims: 3", "its dims are [3], the state's [2]"),
        ("dims: 2", "dims: [2, 1]", "its dims are [2, 1], the state's [2]"),
        ("dims: 2", "dims: -1", "its dims [-1] have a free one"),
    ],
)
def test_a_first_state_is_a_state(old: str, new: str, message: str) -> None:
    """Of its type and size."""
    assert find_messages(f"state {{ {STATE} initial_state {ZERO.replace(old, new)} }}") == [message]


def test_states_of_two_names_begin_each_in_its_way() -> None:
    """Only one name for two of them is wrong."""
    first, second = (f"state {{ {STATE} initial_state {ZERO} }}".replace('"s"', name) for name in ('"s"', '"u"'))
    assert find_messages(first + second) == []
    assert find_messages(first + first) == ["'s' already has an initial state"]
