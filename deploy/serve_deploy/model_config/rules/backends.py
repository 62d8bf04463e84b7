"""Rules on instances, accelerators and parameters (core: ValidateInstanceGroup, TritonModel; onnxruntime_backend)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.accelerators import ACCELERATORS, PRECISIONS, TENSORRT_KEYS
from serve_deploy.model_config.problem import Problem, did_you_mean, is_onnx

# What the backend reads of `parameters`: onnxruntime_backend, onnxruntime.cc.
_PARAMETERS = (
    "intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena", "enable_mem_pattern",
    "memory.enable_memory_arena_shrinkage", "session.use_device_allocator_for_initializers", "cudnn_conv_algo_search",
    "gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream",
)  # fmt: skip


def check_instances(config: Any) -> Iterator[Problem]:
    for index, group in enumerate(config.instance_group):
        kind = type(group).Kind.Name(group.kind)
        if group.gpus and kind in ("KIND_CPU", "KIND_MODEL"):
            yield Problem(f"instance_group[{index}].gpus", f"{kind} takes no gpus", "remove gpus, or use KIND_GPU")
        elif any(gpu < 0 for gpu in group.gpus):
            numbers = ", ".join(map(str, group.gpus))
            yield Problem(
                f"instance_group[{index}].gpus", f"{numbers}: a GPU's number is 0 or more", "write its number"
            )
        if group.profile and "tensorrt" not in (config.backend, config.platform.removesuffix("_plan")):
            yield Problem(f"instance_group[{index}].profile", "only TensorRT has profiles", "remove profile")


def check_accelerators(config: Any) -> Iterator[Problem]:
    for device, known in ACCELERATORS.items():
        where = f"optimization.execution_accelerators.{device}_execution_accelerator"
        for item in getattr(config.optimization.execution_accelerators, where.rpartition(".")[2]):
            if not is_onnx(config):
                continue
            if item.name not in known:
                message = f"'{item.name}' is not a {device.upper()} accelerator of ONNX Runtime"
                yield Problem(where, message, did_you_mean(item.name, known) or f"use '{known[0]}'")
            elif item.name == "tensorrt":
                yield from _check_tensorrt(f"{where}.parameters", dict(item.parameters))


def _check_tensorrt(where: str, parameters: dict[str, str]) -> Iterator[Problem]:
    for key in sorted(set(parameters) - TENSORRT_KEYS):
        fix = did_you_mean(key, TENSORRT_KEYS) or "remove it: Triton does not load the model with it"
        yield Problem(where, f"unknown TensorRT key '{key}'", fix)
    precision = parameters.get("precision_mode", "FP32")
    if precision.lower() not in PRECISIONS or precision != precision.upper():
        yield Problem(where, f"unknown precision_mode '{precision}'", "use FP32, FP16, BF16 or INT8")
    profiles = {bound for bound in ("min", "opt", "max") if f"trt_profile_{bound}_shapes" in parameters}
    if profiles and len(profiles) < 3:
        yield Problem(where, "a TensorRT shape profile needs min, opt and max", "set all three, or none")


def check_batch_strategy(config: Any) -> Iterator[Problem]:
    key = "TRITON_BATCH_STRATEGY_PATH"
    if key not in config.parameters:
        return
    path = config.parameters[key].string_value
    if config.HasField("sequence_batching"):
        yield Problem(f"parameters[{key}]", "sequence batching takes no batch strategy", "remove one of the two")
    elif not path.startswith("/"):
        fix = f"write its full path as Triton sees it, in the model's folder: /models/{config.name or 'NAME'}/1/…"
        yield Problem(f"parameters[{key}]", f"'{path}' is not a full path", fix)


def note_parameters(config: Any) -> Iterator[str]:
    """Parameters that ONNX Runtime's backend does not read, and that look like one that it reads."""
    for key in sorted(set(config.parameters) - set(_PARAMETERS)):
        if is_onnx(config) and (meant := did_you_mean(key, _PARAMETERS)):
            yield f"parameters[{key}] is read by nobody: {meant}"


def check_parameters(config: Any) -> Iterator[Problem]:
    if not is_onnx(config):
        return
    values = {key: value.string_value for key, value in config.parameters.items()}
    for key in ("intra_op_thread_count", "inter_op_thread_count"):
        if key in values and not values[key].lstrip("-").isdigit():
            fix = "write a number of threads; 0 uses all cores"
            yield Problem(f"parameters[{key}]", f"'{values[key]}' is not a number", fix)
    if values.get("execution_mode", "0") not in ("0", "1"):
        message = f"'{values['execution_mode']}' is neither 0 nor 1"
        yield Problem("parameters[execution_mode]", message, "write 0 (sequential) or 1 (parallel)")
    for key in ("enable_mem_arena", "enable_mem_pattern"):
        if values.get(key, "1").lower() not in ("0", "1", "true", "false"):
            yield Problem(f"parameters[{key}]", f"'{values[key]}' is neither true nor false", "write 1 or 0")
