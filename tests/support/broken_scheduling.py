"""Configurations that Triton's core refuses: batch inputs, sequences, devices, backends and files beside the model."""

from __future__ import annotations

from broken_configs import GOOD, IO, BrokenConfig, X, Y

_STATE = (
    'state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: 2 initial_state '
    '{ name: "zero" data_type: TYPE_FP32 dims: 2 zero_data: true } }'
)
_FROM_FILE = _STATE.replace("zero_data: true", 'data_file: "s"')
_ZERO = "int32_false_true: [0, 1]"
PYTHON = 'backend: "python"'


def _tensors(name: str, config: str, field: str) -> BrokenConfig:
    return BrokenConfig(name, f"max_batch_size: 4 {config}", field)


def _batch_input(name: str, fields: str, field: str) -> BrokenConfig:
    return BrokenConfig(name, f"{GOOD} batch_input {{ {fields} }}", f"batch_input[0].{field}")


def _batch_output(name: str, fields: str, field: str) -> BrokenConfig:
    return BrokenConfig(name, f"{GOOD} batch_output {{ {fields} }}", f"batch_output[0].{field}")


def _controls(name: str, controls: str, field: str) -> BrokenConfig:
    return BrokenConfig(name, f"{GOOD} sequence_batching {{ {controls} }}", f"sequence_batching.{field}")


def _control(name: str, kind: str, values: str = _ZERO) -> str:
    return f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{kind} {values} }} }}'


def _state(name: str, old: str, new: str, field: str) -> BrokenConfig:
    assert old in _STATE
    config = f"{GOOD} sequence_batching {{ {_STATE.replace(old, new)} }}"
    return BrokenConfig(name, config, f"sequence_batching.state[0].{field}", backend=PYTHON)


def _warmup(name: str, fields: str, field: str, files: tuple[tuple[str, bytes], ...] = ()) -> BrokenConfig:
    config = f'{GOOD} model_warmup {{ name: "w" batch_size: 1 inputs {{ key: "x" value {{ {fields} }} }} }}'
    return BrokenConfig(name, config, field, files=files)


CORE = (
    _tensors("nameless_output", f"{X} output {{ data_type: TYPE_FP32 dims: 3 }}", "output[0].name"),
    _tensors("typeless_output", f'{X} output {{ name: "y" dims: 3 }}', "output[0].data_type"),
    _tensors("output_without_dims", f'{X} output {{ name: "y" data_type: TYPE_FP32 }}', "output[0].dims"),
    _tensors(
        "zero_in_reshape",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: 3 reshape {{ shape: [3, 0] }} }} {Y}',
        "input[0].dims",
    ),
    _tensors(
        "reshape_loses_a_free_dim",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: [-1, -1] reshape {{ shape: -1 }} }} {Y}',
        "input[0].reshape",
    ),
    _tensors(
        "shape_tensor_input",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: 3 is_shape_tensor: true }} {Y}',
        "input[0].is_shape_tensor",
    ),
    _tensors(
        "shape_tensor_output",
        f'{X} output {{ name: "y" data_type: TYPE_FP32 dims: 3 is_shape_tensor: true }}',
        "output[0].is_shape_tensor",
    ),
    _tensors(
        "non_linear_format",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: 3 is_non_linear_format_io: true }} {Y}',
        "input[0].is_non_linear_format_io",
    ),
    _tensors(
        "image_format_without_image",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: 3 format: FORMAT_NHWC }} {Y}',
        "input[0].format",
    ),
    _tensors(
        "labels_that_are_not_there",
        f'{X} output {{ name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "lables.txt" }}',
        "output[0].label_filename",
    ),
    _batch_input("batch_input_without_source", 'target_name: "n" data_type: TYPE_FP32', "source_input"),
    _batch_input(
        "batch_input_of_two_sources",
        'target_name: "n" data_type: TYPE_FP32 source_input: ["x", "x"]',
        "source_input",
    ),
    _batch_input("batch_input_of_no_input", 'target_name: "n" data_type: TYPE_FP32 source_input: "z"', "source_input"),
    _batch_input("batch_input_type", 'target_name: "n" data_type: TYPE_INT64 source_input: "x"', "data_type"),
    _batch_input("batch_input_kind", 'kind: 9 target_name: "n" data_type: TYPE_FP32 source_input: "x"', "kind"),
    _batch_output("batch_output_without_source", 'target_name: "y"', "source_input"),
    _batch_output("batch_output_of_no_input", 'target_name: "y" source_input: "z"', "source_input"),
    _batch_output("batch_output_of_no_output", 'target_name: "z" source_input: "x"', "target_name"),
    _batch_output("batch_output_twice", 'target_name: ["y", "y"] source_input: "x"', "target_name"),
    _batch_output("batch_output_kind", 'kind: 9 target_name: "y" source_input: "x"', "kind"),
    BrokenConfig(
        "preferred_negative",
        f"{GOOD} dynamic_batching {{ preferred_batch_size: -1 }}",
        "dynamic_batching.preferred_batch_size",
    ),
    BrokenConfig(
        "preferred_without_batching",
        f"{IO} dynamic_batching {{ preferred_batch_size: 1 }}",
        "dynamic_batching.preferred_batch_size",
    ),
    BrokenConfig(
        "policy_for_level_zero",
        f"{GOOD} dynamic_batching {{ priority_levels: 2 default_priority_level: 1 priority_queue_policy "
        "{ key: 0 value { max_queue_size: 1 } } }",
        "dynamic_batching.priority_queue_policy",
    ),
    BrokenConfig(
        "ordering_and_delay_of_a_level",
        f"{GOOD} dynamic_batching {{ preserve_ordering: true priority_levels: 1 default_priority_level: 1 "
        "priority_queue_policy { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 100 } } }",
        "dynamic_batching.default_queue_policy.timeout_action",
    ),
    _controls("control_without_name", _control("", "START"), "control_input[0].name"),
    _controls("control_tensor_twice", _control("c", "START") + _control("c", "END"), "control_input[1].name"),
    _controls("two_starts", _control("a", "START") + _control("b", "START"), "control_input[1]"),
    _controls(
        "two_correlation_ids",
        _control("a", "CORRID", "data_type: TYPE_INT64") + _control("b", "CORRID", "data_type: TYPE_INT64"),
        "control_input[1]",
    ),
    _controls("control_without_values", _control("c", "START", ""), "control_input[0]"),
    _controls("control_of_two_types", _control("c", "END", f"{_ZERO} fp32_false_true: [0, 1]"), "control_input[0]"),
    _controls("control_of_one_value", _control("c", "READY", "fp32_false_true: 1"), "control_input[0]"),
    _controls("control_of_three_values", _control("c", "READY", "bool_false_true: [0, 1, 1]"), "control_input[0]"),
    _controls("correlation_id_type", _control("c", "CORRID", "data_type: TYPE_FP32"), "control_input[0]"),
    _controls("correlation_id_without_type", _control("c", "CORRID", ""), "control_input[0]"),
    _controls("correlation_id_with_values", _control("c", "CORRID", _ZERO), "control_input[0]"),
    _controls("oldest_preferred_above_max", "oldest { preferred_batch_size: 5 }", "oldest.preferred_batch_size"),
    _controls("oldest_preferred_zero", "oldest { preferred_batch_size: 0 }", "oldest.preferred_batch_size"),
    _controls(
        "slot_utilization_above_one", "direct { minimum_slot_utilization: 1.5 }", "direct.minimum_slot_utilization"
    ),
    _controls(
        "slot_utilization_negative", "direct { minimum_slot_utilization: -0.5 }", "direct.minimum_slot_utilization"
    ),
    _state("initial_state_type", "TYPE_FP32 dims: 2 zero", "TYPE_INT32 dims: 2 zero", "initial_state"),
    _state("initial_state_without_name", 'name: "zero" ', "", "initial_state"),
    _state("initial_state_rank", "dims: 2 zero", "dims: [1, 2] zero", "initial_state"),
    _state("initial_state_size", "dims: 2 zero", "dims: 3 zero", "initial_state"),
    _state("initial_state_free", "dims: 2 zero", "dims: -1 zero", "initial_state"),
    _state("initial_state_without_data", " zero_data: true", "", "initial_state"),
    _state("initial_state_file_missing", "zero_data: true", 'data_file: "s"', "initial_state"),
    _state("two_initial_states", "initial_state", 'initial_state { name: "first" } initial_state', "initial_state"),
    BrokenConfig(
        "one_state_twice",
        f"{GOOD} sequence_batching {{ {_STATE} {_STATE} }}",
        "sequence_batching.state[1].input_name",
        backend=PYTHON,
    ),
    BrokenConfig(
        "initial_state_file_short",
        f"{GOOD} sequence_batching {{ {_FROM_FILE} }}",
        "sequence_batching.state[0].initial_state",
        backend=PYTHON,
        files=(("initial_state/s", b"1234"),),
    ),
    BrokenConfig("gpu_of_no_number", f"{GOOD} instance_group {{ kind: KIND_GPU gpus: -1 }}", "instance_group[0].gpus"),
    BrokenConfig("profile_of_no_engine", f'{GOOD} instance_group {{ profile: "0" }}', "instance_group[0].profile"),
    _warmup("warmup_file_missing", 'data_type: TYPE_FP32 dims: 3 input_data_file: "w"', "model_warmup[0].inputs"),
    _warmup(
        "warmup_file_short",
        'data_type: TYPE_FP32 dims: 3 input_data_file: "w"',
        "model_warmup[0].inputs",
        (("warmup/w", b"1234"),),
    ),
    _warmup("warmup_of_other_size", "data_type: TYPE_FP32 dims: 4 zero_data: true", "model_warmup[0].inputs"),
    _warmup("warmup_of_other_type", "data_type: TYPE_FP64 dims: 3 zero_data: true", "model_warmup[0].inputs"),
    BrokenConfig(
        "warmup_without_inputs", f'{GOOD} model_warmup {{ name: "w" batch_size: 1 }}', "model_warmup[0].inputs"
    ),
    BrokenConfig(
        "batch_strategy_missing",
        f'{GOOD} parameters {{ key: "TRITON_BATCH_STRATEGY_PATH" value {{ string_value: "b.so" }} }}',
        "parameters[TRITON_BATCH_STRATEGY_PATH]",
    ),
    BrokenConfig(
        "batch_strategy_and_sequences",
        f"{GOOD} sequence_batching {{}} "
        'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "b" } }',
        "parameters[TRITON_BATCH_STRATEGY_PATH]",
        backend=PYTHON,
    ),
    BrokenConfig("misspelt_backend", GOOD, "backend", backend='backend: "onnx"'),
    BrokenConfig("mistyped_backend", GOOD, "backend", backend='backend: "onnxruntme"'),
    BrokenConfig("platform_as_backend", GOOD, "backend", backend='backend: "onnxruntime_onnx"'),
    BrokenConfig("backend_as_platform", GOOD, "platform", backend='platform: "onnxruntime"'),
    BrokenConfig("platform_of_another_backend", GOOD, "platform", backend='backend: "onnxruntime" platform: "onnx"'),
    BrokenConfig("ensemble_without_steps", GOOD, "ensemble_scheduling.step", backend='platform: "ensemble"'),
    BrokenConfig("misspelt_field", GOOD.replace("max_batch_size", "max_batchsize"), "config.pbtxt"),
    BrokenConfig("misspelt_type", GOOD.replace("TYPE_FP32", "TYPE_FLOAT32"), "config.pbtxt"),
    BrokenConfig("two_schedulers", f"{GOOD} dynamic_batching {{}} sequence_batching {{}}", "config.pbtxt"),
    BrokenConfig("model_file_not_there", f'{GOOD} default_model_filename: "net.onnx"', "1/net.onnx"),
    BrokenConfig("version_not_there", f"{GOOD} version_policy {{ specific {{ versions: 3 }} }}", "version_policy"),
    BrokenConfig("name_of_another", f'name: "another" {GOOD}', "name"),
)
