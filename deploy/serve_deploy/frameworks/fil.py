"""What the FIL backend needs to know of a tree model, whichever library made it.

Sources: fil_backend, docs/model_config.md, docs/model_support.md and src/shared_state.h, of 26.06.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType

INPUT, OUTPUT = "input__0", "output__0"
# A request may carry many rows, and one of more than this is refused.
_MAX_BATCH_SIZE = 32768


@dataclass(frozen=True)
class Trees:
    """A tree model: `classes` is 0 for a regressor and 2 for a binary classifier."""

    library: str
    model_type: str
    file_name: str
    features: int
    classes: int
    objective: str
    version: str | None
    gives_probabilities: bool = True
    trees: int | None = None
    notes: tuple[str, ...] = ()


def describe_trees(path: Path, trees: Trees, given: Mapping[str, str]) -> Artefact:
    """The tensors and parameters with which FIL serves it; `given` parameters decide what a classifier returns."""
    if trees.features < 1:
        raise InvalidModelError(f"{path} has no features, so there is nothing to serve", hint="train and save it again")
    parameters, reasons = _parameters(trees, given)
    classifies, probabilities = (parameters.get(name) == "true" for name in ("is_classifier", "predict_proba"))
    size = _output_size(trees, classifies=classifies, probabilities=probabilities)
    facts = {
        "features": trees.features,
        "classes": trees.classes or None,
        "objective": trees.objective,
        "trees": trees.trees,
    }
    return Artefact(
        framework=trees.library,
        backend="fil",
        source=path,
        files={trees.file_name: path},
        inputs=(Tensor(INPUT, DataType.FP32, (-1, trees.features)),),
        outputs=(Tensor(OUTPUT, DataType.FP32, (-1, size)),),
        version=trees.version,
        facts=tuple(
            ReasonedValue(name=name, value=value, reason="read from the file")
            for name, value in facts.items()
            if value is not None
        ),
        parameters=parameters,
        reasons={
            **reasons,
            "backend": "the Forest Inference Library runs tree models",
            "input.name": "FIL's own name",
            "output.name": "FIL's own name",
            "input.data_type": "FIL computes in FP32",
            "output.data_type": "FIL computes in FP32",
            "output.dims": _explain_output(trees, size, classifies=classifies),
            "parameters": "read by the FIL backend",
        },
        rows_are_independent="each row passes through the trees by itself",
        max_batch_size=_MAX_BATCH_SIZE,
        notes=trees.notes,
    )


def _output_size(trees: Trees, *, classifies: bool, probabilities: bool) -> int:
    """Numbers in each row of the answer."""
    if classifies:
        return max(trees.classes, 2) if probabilities else 1
    return trees.classes if trees.classes > 2 else 1


def _parameters(trees: Trees, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """All parameters, and the reasons of those that are derived."""
    for name in ("is_classifier", "output_class", "predict_proba"):
        if given.get(name, "false") not in ("true", "false"):
            raise UsageError(f"`parameters={name}={given[name]}` is neither true nor false", hint="write one of them")
    if given.get("model_type", trees.model_type) != trees.model_type:
        raise UsageError(
            f"`parameters`: model_type is {given['model_type']}, but the file says {trees.model_type}",
            hint=f"write {trees.model_type}",
        )
    classifies = given.get("is_classifier", given.get("output_class", str(trees.classes > 0).lower()))
    if given.get("predict_proba") == "true" and classifies == "false":
        raise UsageError("`parameters=predict_proba=true`, but a regressor has no classes", hint="leave it out")
    derived = {"model_type": (trees.model_type, "what the file is")}
    derived["is_classifier"] = (classifies, f"the objective is {trees.objective}")
    if classifies == "true":
        threshold = "FIL wants it of every classifier" if trees.classes > 2 else "a row is of class 1 above it"
        proba = "the objective gives probabilities" if trees.gives_probabilities else "the objective gives classes"
        derived["threshold"] = ("0.5", threshold)
        derived["predict_proba"] = (str(trees.gives_probabilities).lower(), f"{proba}; false returns the class alone")
    values = {name: value for name, (value, _reason) in derived.items()} | dict(given)
    reasons = {f"parameters[{name}]": reason for name, (_value, reason) in derived.items() if name not in given}
    return values, reasons


def _explain_output(trees: Trees, size: int, *, classifies: bool) -> str:
    if size == 2:
        return "the probabilities of class 0 and class 1"
    if size > 2:
        return f"a number for each of the {trees.classes} classes"
    return "the class" if classifies else "the prediction"
