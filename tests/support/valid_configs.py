"""Configurations that Triton serves, usual and unusual: none of them may be called wrong."""

from __future__ import annotations

from broken_configs import GOOD, IO, BrokenConfig, X, Y
from broken_ensembles import DOUBLE, FIRST, IN, OUT, PYTHON_MODEL, SECOND, STREAM, flow, step

ONE = "instance_group { count: 1 }"
PYTHON = 'backend: "python"'
_START = 'control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] } }'
_ID = 'control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }'
_STATE = 'state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: 2 '
_BATCH_INPUT = 'batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 '
_REQUEST = 'model_warmup { name: "w" batch_size: 2 inputs { key: "x" value { data_type: TYPE_FP32 dims: 3 '


def _onnx(name: str, config: str, backend: str = 'backend: "onnxruntime"', **more: object) -> BrokenConfig:
    return BrokenConfig(name, f"{config} {ONE}", "", backend=backend, **more)  # type: ignore[arg-type]


def _python(name: str, config: str, **more: object) -> BrokenConfig:
    return BrokenConfig(name, config, "", backend=PYTHON, **more)  # type: ignore[arg-type]


def _ensemble(name: str, config: str) -> BrokenConfig:
    return BrokenConfig(name, config, "", backend='platform: "ensemble"')


VALID = (
    _onnx("plain", GOOD),
    _onnx("only_platform", GOOD, 'platform: "onnxruntime_onnx"'),
    _onnx("platform_and_backend", GOOD, 'platform: "onnxruntime_onnx" backend: "onnxruntime"'),
    _onnx("backend_guessed_by_file", GOOD, ""),
    _onnx("named", f'name: "named" {GOOD}'),
    _onnx("without_batching", IO.replace("dims: 3", "dims: [-1, 3]")),
    _onnx(
        "narrower_input",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: [2, 3] }} {Y.replace("dims: 3", "dims: [-1, 3]")}',
    ),
    _onnx(
        "reshaped",
        f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: [1, 3, 1] reshape {{ shape: 3 }} }} {Y}',
    ),
    _onnx(
        "reshaped_over_a_free_dim",
        'input { name: "x" data_type: TYPE_FP32 dims: [-1, 1, 3] reshape { shape: [-1, 3] } }'
        + Y.replace("dims: 3", "dims: [-1, 3]"),
    ),
    _onnx(
        "preferred_sizes", f"{GOOD} dynamic_batching {{ preferred_batch_size: [2, 4] max_queue_delay_microseconds: 9 }}"
    ),
    _onnx("same_preferred_size_twice", f"{GOOD} dynamic_batching {{ preferred_batch_size: [4, 4] }}"),
    _onnx(
        "queue_without_batching",
        IO.replace("dims: 3", "dims: [-1, 3]") + " dynamic_batching { default_queue_policy { max_queue_size: 3 } }",
    ),
    _onnx(
        "priorities",
        f"{GOOD} dynamic_batching {{ priority_levels: 2 default_priority_level: 2 priority_queue_policy "
        "{ key: 1 value { timeout_action: DELAY default_timeout_microseconds: 5 allow_timeout_override: true } } }",
    ),
    _onnx("default_level_without_levels", f"{GOOD} dynamic_batching {{ default_priority_level: 3 }}"),
    _onnx(
        "one_ordered_priority",
        f"{GOOD} dynamic_batching {{ preserve_ordering: true priority_levels: 1 default_priority_level: 1 }}",
    ),
    _onnx(
        "delay_without_timeout_in_order",
        f"{GOOD} dynamic_batching {{ preserve_ordering: true default_queue_policy {{ timeout_action: DELAY }} }}",
    ),
    _onnx("two_groups", f'{GOOD} instance_group {{ name: "a" count: 1 kind: KIND_CPU }}'),
    BrokenConfig("negative_count", f"{GOOD} instance_group {{ count: -1 }}", ""),
    _onnx("passive_group", f'{GOOD} instance_group {{ count: 1 passive: true host_policy: "mine" }}'),
    _onnx(
        "rate_limited",
        f'{GOOD} instance_group {{ count: 1 rate_limiter {{ resources {{ name: "r" count: 1 }} priority: 2 }} }}',
    ),
    _onnx("all_versions", f"{GOOD} version_policy {{ all {{}} }}"),
    _onnx("more_versions_than_there_are", f"{GOOD} version_policy {{ latest {{ num_versions: 7 }} }}"),
    _onnx("one_version_named", f"{GOOD} version_policy {{ specific {{ versions: 1 }} }}"),
    _onnx(
        "optimization",
        f"{GOOD} optimization {{ graph {{ level: -1 }} priority: PRIORITY_MIN cuda {{ graphs: true }} "
        "input_pinned_memory { enable: false } gather_kernel_buffer_threshold: 3 eager_batching: true }",
    ),
    _onnx(
        "parameters",
        f'{GOOD} parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }} '
        'parameters { key: "mine" value { string_value: "anything" } }',
    ),
    _onnx("tags", f'{GOOD} metric_tags {{ key: "team" value: "a" }}'),
    _onnx(
        "labels",
        GOOD.replace('name: "y"', 'name: "y" label_filename: "labels.txt"'),
        files=(("labels.txt", b"a\nb\nc\n"),),
    ),
    _onnx(
        "fewer_labels_in_a_folder",
        GOOD.replace('name: "y"', 'name: "y" label_filename: "more/labels.txt"'),
        files=(("more/labels.txt", b"a\n"),),
    ),
    _onnx("warmup_of_zeros", f"{GOOD} {_REQUEST} zero_data: true }} }} }}"),
    _onnx("warmup_at_random", f"{GOOD} {_REQUEST} random_data: true }} }} count: 3 }}"),
    _onnx(
        "warmup_from_a_longer_file",
        f'{GOOD} {_REQUEST} input_data_file: "w" }} }} }}',
        files=(("warmup/w", b"\0" * 40),),
    ),
    _onnx("warmup_of_nothing", f'{GOOD} model_warmup {{ name: "w" batch_size: 0 }}'),
    _onnx("cache_switched_off", f"{GOOD} response_cache {{ enable: false }}"),
    _onnx("file_of_another_name", f'{GOOD} default_model_filename: "model.onnx"', ""),
    _python("python_plain", GOOD),
    BrokenConfig("python_guessed_by_file", GOOD, "", backend="", files=(("1/model.py", PYTHON_MODEL),)),
    _python("python_decoupled", STREAM),
    _python("python_any_platform", f'{GOOD} platform: "mine"'),
    _python(
        "python_optional",
        f'max_batch_size: 4 {X} input {{ name: "z" data_type: TYPE_FP32 dims: 3 optional: true }} {Y}',
    ),
    _python(
        "python_strings",
        'input { name: "x" data_type: TYPE_STRING dims: 1 } output { name: "y" data_type: TYPE_BOOL dims: 1 }',
    ),
    _python(
        "python_image",
        'max_batch_size: 4 input { name: "x" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: [-1, -1, 3] } ' + Y,
    ),
    _python("sequences", f"{GOOD} sequence_batching {{}}"),
    _python(
        "sequences_in_slots", f"{GOOD} sequence_batching {{ direct {{ minimum_slot_utilization: 1 }} {_START} {_ID} }}"
    ),
    _python(
        "oldest_sequences",
        f"{GOOD} sequence_batching {{ oldest {{ max_candidate_sequences: 4 preferred_batch_size: 4 }} }}",
    ),
    _python("iterative_sequences", f"{STREAM} sequence_batching {{ iterative_sequence: true }}"),
    _python(
        "state_of_zeros",
        f"{GOOD} sequence_batching {{ {_STATE} initial_state "
        '{ name: "z" data_type: TYPE_FP32 dims: 2 zero_data: true } } }',
    ),
    _python(
        "state_from_a_file",
        f"{GOOD} sequence_batching {{ {_STATE} initial_state "
        '{ name: "z" data_type: TYPE_FP32 dims: 2 data_file: "s" } } }',
        files=(("initial_state/s", b"\0" * 8),),
    ),
    _python(
        "ragged",
        GOOD.replace("dims: 3 }", "dims: -1 allow_ragged_batch: true }", 1) + f' {_BATCH_INPUT} source_input: "x" }}',
    ),
    _python("scattered", f'{GOOD} batch_output {{ target_name: "y" source_input: "x" }}'),
    _ensemble("one_step", flow(DOUBLE)),
    _ensemble("steps_in_any_order", flow(SECOND, FIRST)),
    _ensemble("an_intermediate_as_output", flow(FIRST, SECOND, rest=OUT.replace('"out"', '"middle"'))),
    _ensemble("smaller_batch", flow(DOUBLE, head=f"max_batch_size: 2 {IN} {OUT}")),
    _ensemble("without_ensemble_batching", flow(DOUBLE, head=f"{IN} {OUT}".replace("dims: 3", "dims: [-1, 3]"))),
    _ensemble("one_input_to_two", flow(step("two", {"a": "in", "b": "in"}, {"y": "out"}))),
    _ensemble("nested", flow(step("one_step", {"in": "in"}, {"out": "out"}))),
    _ensemble("pinned_version", flow(step("well", {"x": "in"}, {"y": "out"}, version=1))),
    _ensemble("streaming", flow(step("stream", {"x": "in"}, {"y": "middle"}), SECOND)),
    _ensemble(
        "a_stream_to_two_inputs",
        flow(step("stream", {"x": "in"}, {"y": "a"}), step("two", {"a": "a", "b": "a"}, {"y": "out"})),
    ),
    _ensemble(
        "reshaped_output",
        flow(DOUBLE, head=f"max_batch_size: 4 {IN} {OUT.replace('dims: 3', 'dims: [3, 1] reshape { shape: 3 }')}"),
    ),
    _ensemble(
        "ensemble_with_policy", flow(DOUBLE, rest='version_policy { all {} } metric_tags { key: "a" value: "b" }')
    ),
)
