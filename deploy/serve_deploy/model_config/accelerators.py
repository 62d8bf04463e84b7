"""Execution accelerators of Triton's ONNX Runtime backend, and which keys they take.

Source: triton-inference-server/onnxruntime_backend, ModelState::LoadModel; an unknown key fails the load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_deploy.errors import UsageError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_TENSORRT_OPTIONS = (
    "max_partition_iterations min_subgraph_size dla_enable dla_core engine_cache_enable engine_cache_path "
    "engine_cache_prefix dump_subgraphs force_sequential_engine_build context_memory_sharing_enable "
    "layer_norm_fp32_fallback timing_cache_enable timing_cache_path force_timing_cache detailed_build_log "
    "build_heuristics_enable sparsity_enable builder_optimization_level auxiliary_streams tactic_sources "
    "extra_plugin_lib_paths profile_min_shapes profile_max_shapes profile_opt_shapes cuda_graph_enable "
    "dump_ep_context_model ep_context_file_path ep_context_embed_mode"
)
TENSORRT_KEYS = frozenset(
    {
        "precision_mode", "max_workspace_size_bytes",
        "int8_calibration_table_name", "int8_use_native_calibration_table",
        *(f"trt_{option}" for option in _TENSORRT_OPTIONS.split()),
    }
)  # fmt: skip
ACCELERATORS = {"gpu": ("tensorrt", "cuda"), "cpu": ("openvino",)}


@dataclass(frozen=True)
class Optimization:
    """An execution accelerator of Triton's ONNX Runtime backend, with the keys that Triton passes on to it."""

    accelerator: Literal["tensorrt", "cuda", "openvino"]
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_optimization(text: str) -> Optimization:
    """Read `openvino`, `cuda`, `tensorrt`, `tensorrt:fp16` or `tensorrt:fp16,trt_engine_cache_enable=1`."""
    name, _, rest = text.partition(":")
    if name in ("openvino", "cuda") and not rest:
        return Optimization("openvino" if name == "openvino" else "cuda")
    if name != "tensorrt":
        raise UsageError(
            f"`optimization={text}` is not an accelerator of Triton's", hint="use tensorrt[:fp16], cuda or openvino"
        )
    parameters = dict(_parse_parameter(item) for item in rest.split(",") if item)
    return Optimization("tensorrt", parameters)


def _parse_parameter(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator and key.lower() in PRECISIONS:
        return "precision_mode", key.upper()
    if not separator or not value or key not in TENSORRT_KEYS:
        raise UsageError(
            f"`optimization=tensorrt`: Triton does not pass '{text}' to TensorRT",
            hint=f"use a precision ({', '.join(PRECISIONS)}) or KEY=VALUE with one of these keys: "
            f"{', '.join(sorted(TENSORRT_KEYS))}",
        )
    return key, value
