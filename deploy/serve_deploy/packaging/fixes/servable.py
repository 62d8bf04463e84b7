"""Whether Triton can serve a model as it is, or else a fixed copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel, UnsupportedTensor
    from serve_deploy.onnx.session import OpenedModel


@dataclass(frozen=True)
class Servable:
    """The model or its fixed copy, one sentence for each fix, and what is not known of the release.

    `runs_every_operator` is None where it is not known whether the release does, on a CPU.
    """

    opened: OpenedModel
    fixes: tuple[str, ...]
    notes: tuple[str, ...]
    runs_every_operator: bool | None


def make_servable(opened: OpenedModel, *, release: str, fix: bool, runs_model: bool = True) -> Servable:
    """The model as the release serves it; raises InvalidModelError where it cannot.

    Without `runs_model` it may be for GPUs only: then a missing CPU kernel is a note.
    """
    from serve_deploy.onnx.operator_uses import list_operator_uses
    from serve_deploy.packaging.fixes.model_fixes import fix_model
    from serve_deploy.releases import answer_release, check_data_types, check_operators, check_release, note_operators

    servable, fixes = fix_model(opened, release=release) if fix else (opened, ())
    model = servable.model
    error = (
        explain_unservable(model, fixed=fix)
        or check_release(release, model.ir_version, model.opsets)
        or check_data_types(release, model.signature)
    )
    uses = list_operator_uses(servable.parse())
    if error is None and runs_model:
        error = check_operators(release, uses, ir_version=model.ir_version, opsets=model.opsets)
    if error is not None:
        raise error
    answer = answer_release(release, uses)
    note = note_operators(release, answer)
    runs = None if answer.verdict == "unknown" else answer.verdict == "runs"
    return Servable(servable, fixes, (note,) if note else (), runs)


def explain_unservable(model: OnnxModel, *, fixed: bool = False) -> InvalidModelError | None:
    """Why Triton cannot serve the model as it is, or the copy, naming the tensor and what to do; None where it can."""
    for tensor in model.unsupported:
        return InvalidModelError(
            f"{tensor.direction} '{tensor.name}' of {model.path} is {tensor.described}, which Triton cannot serve",
            hint="`fix` rewrites a copy of the model with plain tensors"
            if _is_fixable(tensor) and not fixed
            else f"export the model with plain tensors as {tensor.direction}s",
        )
    return None


def _is_fixable(tensor: UnsupportedTensor) -> bool:
    if tensor.kind == "tensor":
        return "complex" not in tensor.type_name
    if tensor.direction == "input":
        return tensor.kind == "optional" and "sequence" not in tensor.type_name
    return tensor.kind != "sparse tensor"
