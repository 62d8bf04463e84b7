"""Whether tensors could have a batch axis, by their shapes alone."""

from __future__ import annotations

from serve_deploy.tensors.types import ModelSignature


def check_declared(signature: ModelSignature) -> str | None:
    """Why the model cannot batch by its shapes alone, or None where it might."""
    inputs = [tensor for tensor in signature.inputs if not tensor.optional]
    if not inputs:
        return "the model has no inputs that could be stacked"
    for kind, tensors in (("input", inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if not tensor.shape:
                return f"{kind} '{tensor.name}' is a scalar (or of unknown rank) and has no axis to stack on"
            if tensor.shape[0] != -1:
                return f"the first dimension of {kind} '{tensor.name}' is fixed to {tensor.shape[0]}"
    return None
