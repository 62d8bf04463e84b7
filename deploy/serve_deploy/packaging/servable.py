"""Whether Triton can serve a model as it is, or else a fixed copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel, UnsupportedTensor
    from serve_deploy.onnx.session import OpenedModel


def make_servable(opened: OpenedModel, *, release: str, fix: bool) -> tuple[OpenedModel, tuple[str, ...]]:
    """The model, and one sentence for each fix; raises InvalidModelError where the release cannot serve it."""
    from serve_deploy.packaging.fixes.model_fixes import fix_model
    from serve_deploy.releases import check_data_types, check_release

    servable, fixes = fix_model(opened, release=release) if fix else (opened, ())
    model = servable.model
    error = (
        explain_unservable(model)
        or check_release(release, model.ir_version, model.opsets)
        or check_data_types(release, model.signature)
    )
    if error is not None:
        raise error
    return servable, fixes


def explain_unservable(model: OnnxModel) -> InvalidModelError | None:
    """Why Triton cannot serve the model as it is, naming the tensor and what to do; None where it can."""
    for tensor in model.unsupported:
        return InvalidModelError(
            f"{tensor.direction} '{tensor.name}' of {model.path} is a {tensor.type_name}, which Triton cannot serve",
            hint="`fix` rewrites a copy of the model with plain tensors"
            if _is_fixable(tensor)
            else f"export the model with plain tensors as {tensor.direction}s",
        )
    return None


def _is_fixable(tensor: UnsupportedTensor) -> bool:
    if tensor.kind == "tensor":
        return "complex" not in tensor.type_name
    return tensor.direction == "output" and tensor.kind != "sparse tensor"
