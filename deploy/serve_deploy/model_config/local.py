"""A configuration as far as a machine without accelerators can serve it."""

from __future__ import annotations

from typing import Any


def without_accelerators(config: Any) -> tuple[Any, tuple[str, ...]]:
    """The same without GPUs and execution accelerators, and in words what was left out; nothing where it has none."""
    local = type(config)()
    local.CopyFrom(config)
    left_out = []
    accelerators = config.optimization.execution_accelerators
    for item in (*accelerators.gpu_execution_accelerator, *accelerators.cpu_execution_accelerator):
        left_out.append(item.name)
    if left_out:
        local.optimization.ClearField("execution_accelerators")
    for group in local.instance_group:
        if type(group).Kind.Name(group.kind) == "KIND_GPU":
            left_out.append("GPU")
            group.ClearField("kind")
            group.ClearField("gpus")
    return local, tuple(dict.fromkeys(left_out))
