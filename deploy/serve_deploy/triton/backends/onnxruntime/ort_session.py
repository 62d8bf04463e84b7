"""An ONNX Runtime session as the model configuration wants it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import onnxruntime
from ort_contract import RefusedError

_GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_DEVICE_ALLOCATOR = "session.use_device_allocator_for_initializers"
_ARENA_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_TRUE = ("true", "on", "1")
_FALSE = ("false", "off", "0")


def find_model_file(version_folder: Path, config: dict[str, Any]) -> Path:
    """The model in a version's folder; a folder in its place holds model.onnx and the files of its weights."""
    path = version_folder / (config.get("default_model_filename") or "model.onnx")
    if _as_python_opens(path).is_dir():
        path = path / "model.onnx"
    if not _as_python_opens(path).exists():
        raise RefusedError(f"unable to find '{path}' for model '{config['name']}'")
    return path


def _as_python_opens(path: Path) -> Path:
    # Inside Triton, Python takes the names of files for ASCII; ONNX Runtime takes them as they are.
    return Path(os.fsdecode(str(path).encode()))


def open_session(path: Path, config: dict[str, Any]) -> onnxruntime.InferenceSession:
    """Load the model; raises RefusedError with ONNX Runtime's words, or the configuration's mistake."""
    options = _session_options(config)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a different class for every code
        raise RefusedError(describe_error(error)) from None


def run_options(config: dict[str, Any]) -> onnxruntime.RunOptions | None:
    """What a single run is told, if anything."""
    value = _parameter(config, _ARENA_SHRINKAGE)
    if value is None:
        return None
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_ARENA_SHRINKAGE, value)
    return options


def describe_error(error: Exception) -> str:
    """ONNX Runtime's message as the native backend words it."""
    if isinstance(error, UnicodeDecodeError):
        return "a string output is not UTF-8, which only the native onnxruntime backend can return"
    found = re.match(r"\[ONNXRuntimeError\] : (\d+) : \w+ : (.*)", str(error), re.DOTALL)
    return f"onnx runtime error {found[1]}: {found[2]}" if found else f"{type(error).__name__}: {error}"


def _session_options(config: dict[str, Any]) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    _set_execution(options, config)
    if (allocator := _parameter(config, _DEVICE_ALLOCATOR)) is not None:
        options.add_session_config_entry(_DEVICE_ALLOCATOR, allocator)
    if (arena := _parameter(config, "enable_mem_arena")) is not None:
        options.enable_cpu_mem_arena = _parse_bool(arena)
    if (pattern := _parameter(config, "enable_mem_pattern")) is not None:
        options.enable_mem_pattern = _parse_bool(pattern)
    _refuse_accelerators(config)
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        options.register_custom_ops_library(library)
    return options


def _set_execution(options: onnxruntime.SessionOptions, config: dict[str, Any]) -> None:
    mode = _parse_int(_parameter(config, "execution_mode") or "0")
    if mode not in (0, 1):
        raise RefusedError(
            f"Invalid configuration value provided. Expected values for execution_mode are 0 or 1 but got {mode}."
        )
    options.execution_mode = (
        onnxruntime.ExecutionMode.ORT_PARALLEL if mode else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    )
    # 0 and less: ONNX Runtime's own choice.
    if (intra := _parse_int(_parameter(config, "intra_op_thread_count") or "0")) > 0:
        options.intra_op_num_threads = intra
    if (inter := _parse_int(_parameter(config, "inter_op_thread_count") or "0")) > 0:
        options.inter_op_num_threads = inter


def _refuse_accelerators(config: dict[str, Any]) -> None:
    # As the native backend's build without a GPU: GPU accelerators are ignored, those for the CPU do not exist.
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        raise RefusedError(f"unknown Execution Accelerator '{accelerator['name']}' is requested")


def _parameter(config: dict[str, Any], key: str) -> str | None:
    value = config.get("parameters", {}).get(key)
    return None if value is None else str(value.get("string_value", ""))


def _parse_int(text: str) -> int:
    # The C++ rule: leading space and trailing text are ignored.
    found = re.match(r"\s*[+-]?\d+", text)
    if found is None:
        raise RefusedError(f"failed to convert '{text}' to integral number")
    return int(found[0])


def _parse_bool(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise RefusedError(f"failed to convert '{text}' to boolean")
    return text.lower() in _TRUE
