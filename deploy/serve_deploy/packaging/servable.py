"""Whether Triton can serve a model as it is; and with --fix, a copy that it can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.repository.model_repository import ModelSource, place_model

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel


def make_servable(
    model: OnnxModel, folder: Path, version: int, *, release: str, fix: bool
) -> tuple[OnnxModel, tuple[str, ...]]:
    """The model, and what was mended; a mended copy is in its version folder already.

    Raises InvalidModelError that names the tensor, type, IR or opset that Triton would refuse, and what to do.
    """
    from serve_deploy.onnx.model import read_model
    from serve_deploy.packaging.fixes.model_fixes import explain_unservable, fix_model
    from serve_deploy.releases import check_data_types, check_release

    fixes: tuple[str, ...] = ()
    if fix:
        fixed = fix_model(model, release=release)
        if fixed.fixes:
            source = ModelSource(fixed.proto.SerializeToString(), model.path.parent.resolve(), model.external_files)
            model, fixes = read_model(place_model(folder, version, source)), fixed.fixes
    error = (
        explain_unservable(model)
        or check_release(release, model.ir_version, model.opsets)
        or check_data_types(release, model.signature)
    )
    if error is not None:
        raise error
    return model, fixes


def list_needs(model: OnnxModel) -> tuple[str, ...]:
    """What the model needs of the image that serves it, as notes for the user."""
    if not model.needs_locale:
        return ()
    return (
        "StringNormalizer loads only where there is the locale en_US.UTF-8: install it in Triton's image, or let "
        "--fix set C.UTF-8, which every image has",
    )
