"""Fields changed in the text of a config.pbtxt: whatever its form, the rest stays as it was written."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import parse_config
from serve_deploy.model_config.editing import edit_config

# As NVIDIA's own examples are written, and as people go on from these.
EXAMPLE = """# owned by the search team
name: "m"
backend: "onnxruntime"
input [
  {
    name: "x"  # the picture
    data_type: TYPE_FP32
    dims: [ 4 ]
  }
]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
max_batch_size: 8   # by hand
instance_group [
  {
    # one a core
    kind: KIND_CPU
    count: 1
  }
]
dynamic_batching { max_queue_delay_microseconds: 100 }  # in March
"""
REPEATED = """name: "m"
max_batch_size: 8
dynamic_batching {
  preferred_batch_size: 4  # four
  preferred_batch_size: 8
}
parameters {
  key: "intra_op_thread_count"
  value: { string_value: "4" }   # cores
}
"""
ONE_LINE = (
    'name: "m" max_batch_size: 8 parameters [ { key: "a" value: < string_value: "1" > }, { key: \'b\' value { } } ]'
)


def test_changed_lines_have_their_reason_and_all_else_stays() -> None:
    """Comments, order and form are the user's; in a line of several fields the reason stands above."""
    config = parse_config(EXAMPLE)
    config.max_batch_size = 16
    config.instance_group[0].count = 2
    config.dynamic_batching.max_queue_delay_microseconds = 500
    reasons = {"max_batch_size": "tuned", "instance_group.count": "tuned", "dynamic_batching": "waits longer"}
    changed = EXAMPLE.replace("max_batch_size: 8   # by hand", f"{'max_batch_size: 16':<48}  # tuned")
    changed = changed.replace("    count: 1", f"{'    count: 2':<48}  # tuned")
    changed = changed.replace("dynamic_batching", "# waits longer\ndynamic_batching").replace("100 }", "500 }")
    assert edit_config(EXAMPLE, config, reasons) == changed


PRIORITIES = """name: "m"
max_batch_size: 8  # by hand
dynamic_batching {
  priority_levels: 2
  priority_queue_policy { key: 1 value { max_queue_size: 4 } }
  priority_queue_policy { key: 2 value { max_queue_size: 8 } }  # the rest
}
"""


@pytest.mark.parametrize("text", [EXAMPLE, REPEATED, ONE_LINE, PRIORITIES, ONE_LINE.replace(" ", "\r\n\t"), ""])
@pytest.mark.parametrize(
    "change",
    [
        "max_batch_size: 32",
        "dynamic_batching { }",
        "dynamic_batching { max_queue_delay_microseconds: 7 preferred_batch_size: [2, 4] preserve_ordering: true }",
        "instance_group { count: 3 }",
        'parameters { key: "intra_op_thread_count" value { string_value: "#1" } }',
        'parameters { key: "b" value { string_value: "new" } }',
        'parameters { key: "a" value { string_value: "two \\"words\\"" } }',
        "optimization { execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } } priority: 1 }",
        "version_policy { latest { num_versions: 2 } }",
    ],
)
def test_what_is_written_is_the_configuration(text: str, change: str) -> None:
    """Whatever was there before, and whatever is new, gone or another."""
    config, other = parse_config(text), parse_config(change)
    for field, _ in other.ListFields():
        config.ClearField(field.name)
    config.MergeFrom(other)
    edited = edit_config(text, config, {"dynamic_batching": "why"})
    assert parse_config(edited) == config
    assert text.count("# the picture") == edited.count("# the picture")


@pytest.mark.parametrize("field", ["max_batch_size", "dynamic_batching", "parameters", "instance_group", "input"])
@pytest.mark.parametrize("text", [EXAMPLE, REPEATED, ONE_LINE])
def test_what_is_gone_leaves_the_rest(text: str, field: str) -> None:
    """Fields of any kind are taken out, and comments of others stay."""
    config = parse_config(text)
    config.ClearField(field)
    edited = edit_config(text, config, {})
    assert parse_config(edited) == config
    assert edited.startswith(text[:9])


def test_values_of_a_map_are_changed_in_their_place() -> None:
    """Beside the comment that the user gave them."""
    config = parse_config(REPEATED)
    config.parameters["intra_op_thread_count"].string_value = "2"
    edited = edit_config(REPEATED, config, {"parameters[intra_op_thread_count]": "tuned"})
    assert edited == REPEATED.replace('  value: { string_value: "4" }', '  # tuned\n  value: { string_value: "2" }')


def test_policies_of_priorities_are_told_by_their_number() -> None:
    """They are a map by numbers, whose entries stay where they are."""
    config = parse_config(PRIORITIES)
    config.dynamic_batching.max_queue_delay_microseconds = 300
    config.dynamic_batching.priority_queue_policy[2].max_queue_size = 9
    edited = edit_config(PRIORITIES, config, {})
    assert edited == PRIORITIES.replace("8 } }", "9 } }").replace(
        "# the rest\n", "# the rest\n  max_queue_delay_microseconds: 300\n"
    )


def test_numbers_of_a_list_become_one_list() -> None:
    """Given one a line, they are one field."""
    config = parse_config(REPEATED)
    config.dynamic_batching.preferred_batch_size[:] = [2, 6]
    edited = edit_config(REPEATED, config, {"dynamic_batching.preferred_batch_size": "tuned"})
    assert [line.strip() for line in edited.splitlines() if "preferred" in line] == [
        f"{'  preferred_batch_size: [2, 6]':<48}  # tuned".strip()
    ]
