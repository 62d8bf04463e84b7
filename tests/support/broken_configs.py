"""Configurations that Triton refuses, one mistake each, for the model y = x + x of x [batch, 3]."""

from __future__ import annotations

from dataclasses import dataclass

X = 'input { name: "x" data_type: TYPE_FP32 dims: 3 }'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: 3 }'
IO = f"{X} {Y}"
GOOD = f"max_batch_size: 4 {IO}"
_WARMUP = 'key: "x" value { data_type: TYPE_FP32 dims: 3'
_GPU = "optimization { execution_accelerators { gpu_execution_accelerator"
_CPU = "optimization { execution_accelerators { cpu_execution_accelerator"


@dataclass(frozen=True)
class BrokenConfig:
    """`config` without backend; `field` is where the mistake is; `files` stand beside config.pbtxt.

    `here` is False where only the native backend refuses it: onnxruntime_backend, onnxruntime.cc (accelerators,
    ProcessRequests), and for `serves_no_version` core, model_config_utils.cc.
    """

    name: str
    config: str
    field: str
    here: bool = True
    backend: str = 'backend: "onnxruntime"'
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def text(self) -> str:
        """The whole config.pbtxt."""
        return f"{self.backend} {self.config}"


BROKEN = (
    BrokenConfig("negative_batch", f"max_batch_size: -1 {IO}", "max_batch_size"),
    BrokenConfig("nameless_tensor", f"max_batch_size: 4 input {{ data_type: TYPE_FP32 dims: 3 }} {Y}", "input[0].name"),
    BrokenConfig("typeless_tensor", f'max_batch_size: 4 input {{ name: "x" dims: 3 }} {Y}', "input[0].data_type"),
    BrokenConfig("no_dims", f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 }} {Y}', "input[0].dims"),
    BrokenConfig(
        "zero_dim", f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: 0 }} {Y}', "input[0].dims"
    ),
    BrokenConfig(
        "dim_below_minus_one",
        f'max_batch_size: 4 {X} output {{ name: "y" data_type: TYPE_FP32 dims: -2 }}',
        "output[0].dims",
    ),
    BrokenConfig(
        "empty_reshape_without_batching",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: 1 reshape {{}} }} {Y}',
        "input[0].reshape",
    ),
    BrokenConfig(
        "reshape_of_other_size",
        f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: 3 reshape {{ shape: [2] }} }} {Y}',
        "input[0].reshape",
    ),
    BrokenConfig(
        "reshape_moves_elements_over_a_free_dim",
        f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: [2, -1, 3] reshape {{ shape: [3, -1, 2] }} }}'
        f" {Y}",
        "input[0].reshape",
    ),
    BrokenConfig(
        "optional_with_batching",
        f'max_batch_size: 4 {X} input {{ name: "z" data_type: TYPE_FP32 dims: 3 optional: true }} {Y}',
        "input[1].optional",
    ),
    BrokenConfig(
        "preferred_above_max", f"{GOOD} dynamic_batching {{ preferred_batch_size: 5 }}",
        "dynamic_batching.preferred_batch_size",
    ),
    BrokenConfig(
        "preferred_zero", f"{GOOD} dynamic_batching {{ preferred_batch_size: 0 }}",
        "dynamic_batching.preferred_batch_size",
    ),
    BrokenConfig(
        "no_default_priority", f"{GOOD} dynamic_batching {{ priority_levels: 2 }}",
        "dynamic_batching.default_priority_level",
    ),
    BrokenConfig(
        "default_priority_too_high",
        f"{GOOD} dynamic_batching {{ priority_levels: 2 default_priority_level: 3 }}",
        "dynamic_batching.default_priority_level",
    ),
    BrokenConfig(
        "policy_for_no_level",
        f"{GOOD} dynamic_batching {{ priority_levels: 2 default_priority_level: 1 priority_queue_policy "
        "{ key: 3 value { max_queue_size: 1 } } }",
        "dynamic_batching.priority_queue_policy",
    ),
    BrokenConfig(
        "ordering_and_priorities",
        f"{GOOD} dynamic_batching {{ priority_levels: 2 default_priority_level: 1 preserve_ordering: true }}",
        "dynamic_batching.priority_levels",
    ),
    BrokenConfig(
        "ordering_and_delay",
        f"{GOOD} dynamic_batching {{ preserve_ordering: true default_queue_policy "
        "{ timeout_action: DELAY default_timeout_microseconds: 100 } }",
        "dynamic_batching.default_queue_policy.timeout_action",
    ),
    BrokenConfig("cpu_with_gpus", f"{GOOD} instance_group {{ kind: KIND_CPU gpus: 0 }}", "instance_group[0].gpus"),
    BrokenConfig("model_with_gpus", f"{GOOD} instance_group {{ kind: KIND_MODEL gpus: 0 }}", "instance_group[0].gpus"),
    BrokenConfig(
        "cache_with_sequences", f"{GOOD} response_cache {{ enable: true }} sequence_batching {{}}", "response_cache"
    ),
    BrokenConfig(
        "cache_with_decoupled",
        f"{GOOD} response_cache {{ enable: true }} model_transaction_policy {{ decoupled: true }}",
        "response_cache",
    ),
    BrokenConfig("serves_no_version", f"{GOOD} version_policy {{ latest {{}} }}", "version_policy", here=False),
    BrokenConfig(
        "threads_no_number",
        f'{GOOD} parameters {{ key: "intra_op_thread_count" value {{ string_value: "abc" }} }}',
        "parameters[intra_op_thread_count]",
    ),
    BrokenConfig(
        "unknown_execution_mode",
        f'{GOOD} parameters {{ key: "execution_mode" value {{ string_value: "7" }} }}',
        "parameters[execution_mode]",
    ),
    BrokenConfig(
        "arena_no_truth_value",
        f'{GOOD} parameters {{ key: "enable_mem_arena" value {{ string_value: "maybe" }} }}',
        "parameters[enable_mem_arena]",
    ),
    BrokenConfig(
        "warmup_free_dim",
        f'{GOOD} model_warmup {{ name: "w" batch_size: 1 inputs {{ key: "x" value '
        "{ data_type: TYPE_FP32 dims: -1 zero_data: true } } }",
        "model_warmup[0].inputs",
    ),
    BrokenConfig(
        "warmup_without_data",
        f'{GOOD} model_warmup {{ name: "w" batch_size: 1 inputs {{ {_WARMUP} }} }} }}',
        "model_warmup[0].inputs",
    ),
    BrokenConfig(
        "warmup_of_no_input",
        f'{GOOD} model_warmup {{ name: "w" batch_size: 1 inputs {{ key: "z" value '
        "{ data_type: TYPE_FP32 dims: 3 zero_data: true } } }",
        "model_warmup[0].inputs",
    ),
    BrokenConfig(
        "warmup_above_max",
        f'{GOOD} model_warmup {{ name: "w" batch_size: 5 inputs {{ {_WARMUP} zero_data: true }} }} }}',
        "model_warmup[0].batch_size", here=False,
    ),
    BrokenConfig(
        "unknown_accelerator", f'{GOOD} {_GPU} {{ name: "magic" }} }} }}',
        "optimization.execution_accelerators.gpu_execution_accelerator", here=False,
    ),
    BrokenConfig(
        "gpu_accelerator_on_cpu", f'{GOOD} {_CPU} {{ name: "tensorrt" }} }} }}',
        "optimization.execution_accelerators.cpu_execution_accelerator",
    ),
    BrokenConfig(
        "unknown_tensorrt_key",
        f'{GOOD} {_GPU} {{ name: "tensorrt" parameters {{ key: "trt_magic" value: "1" }} }} }} }}',
        "optimization.execution_accelerators.gpu_execution_accelerator.parameters", here=False,
    ),
    BrokenConfig(
        "unknown_precision",
        f'{GOOD} {_GPU} {{ name: "tensorrt" parameters {{ key: "precision_mode" value: "FP8" }} }} }} }}',
        "optimization.execution_accelerators.gpu_execution_accelerator.parameters", here=False,
    ),
    BrokenConfig(
        "half_a_shape_profile",
        f'{GOOD} {_GPU} {{ name: "tensorrt" parameters {{ key: "trt_profile_min_shapes" value: "x:1x3" }} }} }} }}',
        "optimization.execution_accelerators.gpu_execution_accelerator.parameters", here=False,
    ),
    BrokenConfig(
        "scheduling_without_platform", f"{GOOD} ensemble_scheduling {{ step {{ model_name: 'm' }} }}", "platform"
    ),
)  # fmt: skip

# What only a comparison with the model itself can find.
MISMATCHED = (
    BrokenConfig(
        "wrong_name", f'max_batch_size: 4 input {{ name: "z" data_type: TYPE_FP32 dims: 3 }} {Y}', "input[0].name"
    ),
    BrokenConfig(
        "wrong_type", f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP64 dims: 3 }} {Y}', "input[0].data_type"
    ),
    BrokenConfig(
        "wrong_size", f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: 4 }} {Y}', "input[0].dims"
    ),
    BrokenConfig(
        "batch_written_twice",
        f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 dims: [-1, 3] }} {Y}',
        "input[0].dims",
    ),
    BrokenConfig("batch_left_out", IO, "input[0].dims"),
    BrokenConfig(
        "looser_output", f'max_batch_size: 4 {X} output {{ name: "y" data_type: TYPE_FP32 dims: -1 }}', "output[0].dims"
    ),
    BrokenConfig(
        "one_input_too_many",
        f'max_batch_size: 4 {X} input {{ name: "z" data_type: TYPE_FP32 dims: 3 }} {Y}',
        "input",
    ),
)
