"""TensorRT's shape profile, from the shapes of samples; and a configuration without accelerators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median_low
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.model_config.accelerators import Optimization
from serve_deploy.model_config.build import client_inputs
from serve_deploy.tensors.types import ModelSignature, TensorSpec

Shape = tuple[int, ...]


def with_shape_profile(
    optimization: Optimization,
    signature: ModelSignature,
    max_batch_size: int,
    sample_shapes: Sequence[Mapping[str, Shape]],
) -> Optimization:
    """Add trt_profile_{min,opt,max}_shapes, so that one engine serves every shape that the samples show.

    Without a profile TensorRT builds another engine at the first request of each shape. Sample shapes are whole,
    with a batch axis of 1 where the model batches. Inputs without a free dimension need no profile.
    """
    if optimization.accelerator != "tensorrt" or any(key.startswith("trt_profile") for key in optimization.parameters):
        return optimization
    free = [spec for spec in client_inputs(signature, max_batch_size) if -1 in spec.shape]
    seen = {spec.name: [shapes[spec.name] for shapes in sample_shapes if spec.name in shapes] for spec in free}
    if not free or not all(seen.values()):
        return optimization
    bounds: dict[str, Callable[[Iterable[int]], int]] = {"min": min, "opt": median_low, "max": max}
    # Under load batches are full, so that is the size to be fastest at.
    batch = {"min": 1, "opt": max_batch_size, "max": max_batch_size} if max_batch_size else {}
    profile = {
        f"trt_profile_{bound}_shapes": ",".join(
            _profile_entry(spec, [pick(sizes) for sizes in zip(*seen[spec.name], strict=True)], batch.get(bound))
            for spec in free
        )
        for bound, pick in bounds.items()
    }
    return Optimization("tensorrt", {**optimization.parameters, **profile})


def _profile_entry(spec: TensorSpec, shape: list[int], batch: int | None) -> str:
    if any(mark in spec.name for mark in ",:"):
        raise UsageError(
            f"TensorRT's shape profile cannot name the input '{spec.name}': it separates names by ':' and ','",
            hint="rename the input when exporting the model",
        )
    return f"{spec.name}:" + "x".join(map(str, shape if batch is None else [batch, *shape[1:]]))


def without_accelerators(config: Any) -> tuple[Any, tuple[str, ...]]:
    """The configuration without GPUs and execution accelerators, as this machine can serve it, and what was removed."""
    local = type(config)()
    local.CopyFrom(config)
    accelerators = config.optimization.execution_accelerators
    removed = [a.name for a in (*accelerators.gpu_execution_accelerator, *accelerators.cpu_execution_accelerator)]
    if removed:
        local.optimization.ClearField("execution_accelerators")
    for group in local.instance_group:
        if type(group).Kind.Name(group.kind) == "KIND_GPU":
            removed.append("GPU")
            group.ClearField("kind")
            group.ClearField("gpus")
    return local, tuple(dict.fromkeys(removed))
