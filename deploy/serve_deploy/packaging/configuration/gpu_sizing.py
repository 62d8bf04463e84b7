"""How many instances of a model a GPU holds, and which batches: from its memory and what the graph takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.gpu_profiles import GpuProfile

GIB, MIB = 2**30, 2**20
# Triton's guide says that two let one copy while the other computes; what is best only a measurement tells.
ASSUMED_INSTANCES = 2
_USABLE_SHARE = 0.9  # the rest for CUDA's context, the allocator's rounding and other processes
_WORKSPACE_SHARE = 16
# Beside the engine's weights, those that ONNX Runtime loads to build it.
_WEIGHT_COPIES = 2


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that one instance takes: weights, and activations of one row (of all, without batching); None: unknown."""

    weights_bytes: int
    row_bytes: int | None

    def of_instance(self, batch: int, workspace_bytes: int) -> int:
        """What an instance is estimated to take at a batch."""
        return _WEIGHT_COPIES * self.weights_bytes + max(batch, 1) * (self.row_bytes or 0) + workspace_bytes

    def describe(self, batch: int, workspace_bytes: int) -> str:
        """The sum in words."""
        parts = [f"{_WEIGHT_COPIES} × {in_words(self.weights_bytes)} of weights"]
        if self.row_bytes is not None:
            rows = f"{batch} × " if batch > 1 else ""
            parts.append(f"{rows}{in_words(self.row_bytes)} of activations")
        if workspace_bytes:
            parts.append(f"{in_words(workspace_bytes)} of workspace")
        return " + ".join(parts) + ("" if self.row_bytes is not None else "; activations are not known")


@dataclass(frozen=True)
class GpuSizing:
    """What fits; `fits` is False where even one instance with single rows may not."""

    instances: int
    max_batch_size: int
    workspace_bytes: int
    instance_bytes: int
    fits: bool


def size_for_gpu(
    gpu: GpuProfile, need: MemoryNeed, proven: int, workspace: int, *, instances: int | None = None
) -> GpuSizing:
    """The proven batch, halved until it fits; two instances where the GPU holds them, or as many as were asked for.

    `workspace` is TensorRT's, in bytes.
    """
    room = gpu.usable_bytes * _USABLE_SHARE
    batch, least = proven, instances or 1
    while batch > 1 and least * need.of_instance(batch, workspace) > room:
        batch = -(-batch // 2)
    each = need.of_instance(batch, workspace)
    count = instances or (ASSUMED_INSTANCES if ASSUMED_INSTANCES * each <= room else 1)
    return GpuSizing(count, batch, workspace, each, count * each <= room)


def default_workspace_bytes(gpu: GpuProfile) -> int:
    """What TensorRT gets to try kernels and to run them: the power of two in a sixteenth of the GPU's memory."""
    return 1 << (gpu.usable_bytes // _WORKSPACE_SHARE).bit_length() - 1


def in_words(size_bytes: float) -> str:
    """Such as 96 bytes, 21 KiB, 9.1 MiB or 14.5 GiB."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} bytes"
    unit, name = next(
        ((unit, name) for unit, name in ((GIB, "GiB"), (MIB, "MiB")) if size_bytes >= unit), (1024, "KiB")
    )
    value = size_bytes / unit
    return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + f" {name}"
