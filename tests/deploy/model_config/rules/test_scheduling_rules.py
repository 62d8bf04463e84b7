"""The last batching, queue, priority and cache that is legal, and the first that is not."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import Problem, check_config, parse_config

BATCHED = (
    'backend: "onnxruntime" max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 3 } '
    'output { name: "y" data_type: TYPE_FP32 dims: 3 } '
)
DELAY = "timeout_action: DELAY default_timeout_microseconds: 100"


def find_problems(batching: str) -> list[Problem]:
    return list(check_config(parse_config(f"{BATCHED} dynamic_batching {{ {batching} }}")))


def find_fields(batching: str) -> list[str]:
    return [problem.field.removeprefix("dynamic_batching.") for problem in find_problems(batching)]


@pytest.mark.parametrize(("size", "is_legal"), [(-1, False), (0, False), (1, True), (4, True), (5, False)])
def test_a_preferred_batch_has_from_one_row_to_the_largest_batch(size: int, is_legal: bool) -> None:
    """Both included."""
    assert find_fields(f"preferred_batch_size: {size}") == ([] if is_legal else ["preferred_batch_size"])


def test_each_preferred_batch_is_judged_by_itself() -> None:
    """A legal one hides no other."""
    said = [problem.message for problem in find_problems("preferred_batch_size: [0, 2, 5]")]
    assert said == ["0 is not between 1 and max_batch_size (4)", "5 is not between 1 and max_batch_size (4)"]


@pytest.mark.parametrize(("level", "is_legal"), [(0, False), (1, True), (2, True), (3, True), (4, False)])
def test_the_default_priority_is_one_of_the_levels(level: int, is_legal: bool) -> None:
    """From 1 to their number, both included."""
    fields = find_fields(f"priority_levels: 3 default_priority_level: {level}")
    assert fields == ([] if is_legal else ["default_priority_level"])


def test_a_single_level_is_its_own_default() -> None:
    """Triton wants the default to be written even then."""
    assert find_fields("priority_levels: 1 default_priority_level: 1") == []
    assert find_fields("priority_levels: 1") == ["default_priority_level"]


def test_without_levels_there_is_no_default_to_write() -> None:
    """What is said of levels is then left unread, by Triton too."""
    assert find_fields("priority_levels: 0") == []
    assert find_fields("default_priority_level: 9") == []


@pytest.mark.parametrize(("level", "is_legal"), [(0, False), (1, True), (2, True), (3, True), (4, False)])
def test_a_queue_policy_is_for_one_of_the_levels(level: int, is_legal: bool) -> None:
    """From 1 to their number, both included."""
    policy = f"priority_queue_policy {{ key: {level} value {{ max_queue_size: 1 }} }}"
    fields = find_fields(f"priority_levels: 3 default_priority_level: 1 {policy}")
    assert fields == ([] if is_legal else ["priority_queue_policy"])


@pytest.mark.parametrize(("levels", "is_legal"), [(0, True), (1, True), (2, False), (3, False)])
def test_order_is_kept_only_in_one_level(levels: int, is_legal: bool) -> None:
    """A second one would let a request pass another."""
    fields = find_fields(f"preserve_ordering: true priority_levels: {levels} default_priority_level: 1")
    assert fields == ([] if is_legal else ["priority_levels"])


def test_levels_are_legal_where_no_order_is_kept() -> None:
    """And so is a queue that delays."""
    assert find_fields(f"priority_levels: 2 default_priority_level: 1 default_queue_policy {{ {DELAY} }}") == []


@pytest.mark.parametrize(
    ("policy", "is_legal"),
    [
        (DELAY, False),
        ("timeout_action: REJECT default_timeout_microseconds: 100", True),
        ("timeout_action: DELAY", True),
        ("timeout_action: DELAY default_timeout_microseconds: 1", False),
    ],
)
def test_order_forbids_a_queue_that_delays_late_requests(policy: str, is_legal: bool) -> None:
    """One that rejects them is legal, and so is one in which none is ever late."""
    fields = find_fields(f"preserve_ordering: true default_queue_policy {{ {policy} }}")
    assert fields == ([] if is_legal else ["default_queue_policy.timeout_action"])


def test_order_forbids_a_delay_in_any_level() -> None:
    """A level's own policy counts like the default one."""
    policy = f"priority_queue_policy {{ key: 1 value {{ {DELAY} }} }}"
    fields = find_fields(f"preserve_ordering: true priority_levels: 1 default_priority_level: 1 {policy}")
    assert fields == ["default_queue_policy.timeout_action"]


_CACHED, _UNCACHED = "response_cache { enable: true }", "response_cache { enable: false }"
_SEQUENCES, _DECOUPLED = "sequence_batching {}", "model_transaction_policy { decoupled: true }"


@pytest.mark.parametrize(
    ("config", "is_legal"),
    [
        (_CACHED, True),
        (f"{_UNCACHED} {_SEQUENCES}", True),
        (f"{_UNCACHED} {_DECOUPLED}", True),
        (_SEQUENCES, True),
        (_DECOUPLED, True),
        (f"{_CACHED} {_SEQUENCES}", False),
        (f"{_CACHED} {_DECOUPLED}", False),
    ],
)
def test_only_an_enabled_cache_excludes_sequences_and_streams(config: str, is_legal: bool) -> None:
    """Each is legal without the other."""
    fields = [problem.field for problem in check_config(parse_config(f"{BATCHED} {config}"))]
    assert fields == ([] if is_legal else ["response_cache"])
