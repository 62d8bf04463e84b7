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
    probabilities = parameters.get("predict_proba") == "true"
    size = trees.classes if probabilities else 1
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
            "output.dims": _explain_output(trees, probabilities),
            "parameters": "read by the FIL backend",
        },
        rows_are_independent="each row passes through the trees by itself",
        max_batch_size=_MAX_BATCH_SIZE,
        notes=trees.notes,
    )


def _parameters(trees: Trees, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    classifier = trees.classes > 0
    derived = {"model_type": (trees.model_type, "what the file is"), "is_classifier": (
        str(classifier).lower(), f"the objective is {trees.objective}")}  # fmt: skip
    if classifier:
        threshold = "a row is of class 1 above it" if trees.classes == 2 else "FIL wants it of every classifier"
        proba = "the objective gives probabilities" if trees.gives_probabilities else "the objective gives classes"
        derived["threshold"] = ("0.5", threshold)
        derived["predict_proba"] = (str(trees.gives_probabilities).lower(), f"{proba}; false returns the class alone")
    wrong = next((name for name in ("model_type", "is_classifier") if given.get(name, derived[name][0]) !=
                  derived[name][0]), None)  # fmt: skip
    if wrong is not None:
        raise UsageError(
            f"`parameters={wrong}={given[wrong]}`, but the file says {derived[wrong][0]}", hint="leave it out"
        )
    if given.get("predict_proba", "false") not in ("true", "false"):
        raise UsageError(f"`parameters=predict_proba={given['predict_proba']}` is neither true nor false")
    if given.get("predict_proba") == "true" and not classifier:
        raise UsageError("`parameters=predict_proba=true`, but a regressor has no classes", hint="leave it out")
    values = {name: value for name, (value, _reason) in derived.items()} | dict(given)
    reasons = {f"parameters[{name}]": reason for name, (_value, reason) in derived.items() if name not in given}
    return values, reasons


def _explain_output(trees: Trees, probabilities: bool) -> str:
    if probabilities and trees.classes == 2:
        return "the probabilities of class 0 and class 1"
    if probabilities:
        return f"a probability for each of the {trees.classes} classes"
    return "the class" if trees.classes else "the prediction"
