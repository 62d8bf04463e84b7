"""TensorRT on one GPU: precision, workspace, shapes and engines, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from serve_deploy.errors import UsageError
from serve_deploy.gpu_profiles import GpuProfile
from serve_deploy.model_config.accelerators import Optimization
from serve_deploy.model_config.optimization import with_shape_profile
from serve_deploy.packaging.configuration.gpu_sizing import GpuSizing, default_workspace_bytes
from serve_deploy.packaging.configuration.profile_basis import Basis

_GPU = "optimization.execution_accelerators.gpu_execution_accelerator"
_BF16_CAPABILITY = _TF32_CAPABILITY = (8, 0)
_WORKSPACE = "max_workspace_size_bytes"


def given_parameters(asked: Optimization | None) -> Mapping[str, str]:
    """TensorRT's keys that the user set."""
    return asked.parameters if asked and asked.accelerator == "tensorrt" else {}


def workspace_bytes(asked: Optimization | None, gpu: GpuProfile) -> int:
    """What TensorRT may use to try kernels and to run them, as the user set it or by default; 0 without TensorRT."""
    if asked and asked.accelerator == "cuda":
        return 0
    given = given_parameters(asked).get(_WORKSPACE, "")
    return int(given) if given.isdigit() else default_workspace_bytes(gpu)


def choose_tensorrt(name: str, gpu: GpuProfile, basis: Basis, sizing: GpuSizing) -> tuple[Optimization, dict[str, str]]:
    """TensorRT with its keys, the user's own before ours, and the reason for each line by its path.

    UsageError for a precision that the GPU does not have.
    """
    asked = basis.settings.optimization
    given = given_parameters(asked)
    parameters: dict[str, str] = {
        "precision_mode": _supported(basis.precision, gpu),
        _WORKSPACE: str(sizing.workspace_bytes),
    }
    key = f"{_GPU}.parameters[{{}}]".format
    reasons = {
        "optimization": "assumed to be fastest: TensorRT compiles the model for this GPU when it loads",
        key("precision_mode"): _explain_precision(basis.precision, gpu),
        key(_WORKSPACE): f"a power of two in a sixteenth of {name}'s memory (assumed)",
    }
    if basis.cache_folder:
        parameters |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": _engine_folder(name, basis)}
        reasons[key("trt_engine_cache_enable")] = "building an engine takes minutes: a restart finds it there"
        reasons[key("trt_engine_cache_path")] = (
            "of these weights on this GPU alone: ONNX Runtime does not tell other weights' engines apart"
        )
    if chosen := given.get("precision_mode"):
        _require_supported(chosen, name, gpu)
        reasons[key("precision_mode")] = "chosen by the user; its answers were not compared with the model's"
    if asked and asked.accelerator == "tensorrt":
        reasons["optimization"] = "chosen by the user"
    whole = Optimization("tensorrt", {**parameters, **given})
    return with_shape_profile(whole, basis.signature, sizing.max_batch_size, basis.shapes), reasons


def _explain_precision(precision: str, gpu: GpuProfile) -> str:
    if _supported(precision, gpu) != precision:
        return f"the model computes in {precision}, which this GPU does not"
    if precision != "FP32":
        return "as the model computes"
    products = ", products in TF32" if _capability(gpu) >= _TF32_CAPABILITY else ""
    faster = "FP16 is faster and changes answers: serve package --optimize tensorrt:fp16"
    return f"as the model computes{products}; {faster}"


def _engine_folder(name: str, basis: Basis) -> str:
    # ONNX Runtime creates one folder and no parent (tensorrt_execution_provider.cc).
    return f"{basis.cache_folder}-{name}"


def _supported(precision: str, gpu: GpuProfile) -> str:
    return "FP32" if precision == "BF16" and _capability(gpu) < _BF16_CAPABILITY else precision


def _require_supported(precision: str, name: str, gpu: GpuProfile) -> None:
    if _supported(precision, gpu) != precision:
        raise UsageError(
            f"`optimization`: {name} (compute capability {gpu.compute_capability}) has no {precision}",
            hint=f"leave {name} out of `profiles`, or choose fp16",
        )


def _capability(gpu: GpuProfile) -> tuple[int, ...]:
    return tuple(map(int, gpu.compute_capability.split(".")))
