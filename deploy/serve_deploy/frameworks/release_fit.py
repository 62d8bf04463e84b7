"""Whether a Triton release has what an artefact needs, as far as that is known.

Sources: the release notes of Triton for TensorRT; fil_backend, docs/model_support.md; pytorch_backend, README.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact

# The TensorRT of each container, from the release that first carries it; 26.05 is the last that is known.
_TENSORRTS = (
    ("24.04", "8.6.3"), ("24.05", "10.0.1"), ("24.06", "10.1.0"), ("24.07", "10.2.0"), ("24.08", "10.3.0"),
    ("24.09", "10.4.0"), ("24.10", "10.5.0"), ("24.11", "10.6.0"), ("25.01", "10.8.0"), ("25.03", "10.9.0"),
    ("25.05", "10.10.0"), ("25.06", "10.11.0"), ("25.08", "10.13.2"), ("25.09", "10.13.3"), ("25.11", "10.14.1"),
    ("26.02", "10.15.1"), ("26.03", "10.16.0"), ("26.04", "10.16.1"),
)  # fmt: skip
_FIRST_KNOWN, _LAST_KNOWN = "24.04", "26.05"
_LAST_TENSORFLOW = "25.02"
# Of XGBoost: the first whose UBJSON is listed, the border of the JSON that is, and the first with lists in it.
_FIRST_LISTED_UBJ, _LISTED_JSON, _LISTS_BASE_SCORE = (2, 1), (1, 7), (3, 0)
_FIRST_UBJ, _FIRST_TREELITE_4, _FIRST_AOTI, _FIRST_AOTI_NAMES = "24.10", "24.03", "26.03", "26.05"


def tensorrt_of(release: str) -> str | None:
    """The TensorRT that a release carries; None where that is not known."""
    if not _FIRST_KNOWN <= release <= _LAST_KNOWN:
        return None
    return next(version for since, version in reversed(_TENSORRTS) if since <= release)


def check_fit(artefact: Artefact, release: str) -> tuple[str, ...]:
    """Notes on what is not known; InvalidModelError where the release cannot serve the artefact."""
    return tuple(_CHECKS[artefact.backend](artefact, release)) if artefact.backend in _CHECKS else ()


def _check_tensorrt(artefact: Artefact, release: str) -> Iterator[str]:
    there, built = tensorrt_of(release), artefact.version
    needs = "a plan needs the TensorRT that built it, unless it was built version-compatible"
    if built is None:
        yield f"the header of the plan tells no TensorRT version; {needs}"
    elif there is None:
        yield f"TensorRT {built} built the plan; which one Triton {release} has is not known here, and {needs}"
    elif _minor(built)[0] != _minor(there)[0]:
        fitting = [since for since, version in _TENSORRTS if _minor(version)[0] == _minor(built)[0]]
        fix = f"use `release={fitting[-1]}`, or build it" if fitting else "build it"
        raise InvalidModelError(
            f"{artefact.source} was built by TensorRT {built}, and Triton {release} has {there}",
            hint=f"{fix} again with TensorRT {there}: trtexec of tritonserver:{release}-py3",
        )
    elif _minor(built) != _minor(there):
        yield (
            f"TensorRT {built} built the plan, and Triton {release} has {there}: it loads only if it was built"
            " version-compatible, and the server has --backend-config=tensorrt,version-compatible=true"
        )


def _check_tensorflow(_artefact: Artefact, release: str) -> Iterator[str]:
    if release > _LAST_TENSORFLOW:
        raise InvalidModelError(
            f"Triton {release} has no TensorFlow backend: {_LAST_TENSORFLOW} was the last with one",
            hint="convert it to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx; or use "
            f"`release={_LAST_TENSORFLOW}`",
        )
    yield f"Triton {_LAST_TENSORFLOW} is the last release with TensorFlow's backend"


def _check_fil(artefact: Artefact, release: str) -> Iterator[str]:
    model_type = artefact.parameters["model_type"]
    if model_type == "xgboost_ubj" and release < _FIRST_UBJ:
        raise InvalidModelError(
            f"Triton {release} does not read XGBoost's UBJSON: {_FIRST_UBJ} is the first that does",
            hint=f"use `release={_FIRST_UBJ}` or later, or save it with model.save_model('model.json')",
        )
    if model_type == "treelite_checkpoint" and release < _FIRST_TREELITE_4:
        raise InvalidModelError(
            f"Triton {release} does not read checkpoints of Treelite 4: {_FIRST_TREELITE_4} is the first that does",
            hint=f"use `release={_FIRST_TREELITE_4}` or later",
        )
    if artefact.framework == "XGBoost" and artefact.version:
        yield from _note_xgboost(model_type, artefact.version, release)


def _note_xgboost(model_type: str, version: str, release: str) -> Iterator[str]:
    """What NVIDIA's table does not list, and may work."""
    if model_type == "xgboost_ubj" and _minor(version) < _FIRST_LISTED_UBJ:
        yield f"NVIDIA lists UBJSON from XGBoost 2.1 on, and this is of {version}: if it does not load, save it as JSON"
    if model_type == "xgboost_json" and (_minor(version) < _LISTED_JSON) == (release >= _FIRST_TREELITE_4):
        which = "from 1.7 on" if release >= _FIRST_TREELITE_4 else "before 1.7"
        yield f"for Triton {release}, NVIDIA lists JSON of XGBoost {which}, and this is of {version}"
    if _minor(version) >= _LISTS_BASE_SCORE:
        yield (
            f"XGBoost {version} writes base_score as a list, which the Treelite of an older Triton may refuse;"
            " from which release on it is read is not known here"
        )


def _check_pytorch(artefact: Artefact, release: str) -> Iterator[str]:
    if artefact.platform != "torch_aoti":
        return
    if release < _FIRST_AOTI:
        raise InvalidModelError(
            f"Triton {release} does not serve AOTInductor's .pt2: {_FIRST_AOTI} is the first that does",
            hint=f"use `release={_FIRST_AOTI}` or later, or save TorchScript: torch.jit.trace(model, example)",
        )
    if release < _FIRST_AOTI_NAMES:
        yield f"the names ARGS[0], KWARGS[x] and RESULT are understood from Triton {_FIRST_AOTI_NAMES} on"


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


_CHECKS = {
    "tensorrt": _check_tensorrt,
    "tensorflow": _check_tensorflow,
    "fil": _check_fil,
    "pytorch": _check_pytorch,
}
