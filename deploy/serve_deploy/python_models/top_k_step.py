"""The standard step top_k: scores to the highest classes, with their labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from serve_deploy.errors import UsageError
from serve_deploy.python_models.settled_step import SettledStep
from serve_deploy.python_models.step_settings import StepSettings, read_beside, read_settings
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays

_STEP = "top_k"
_FORMS = "give one label on each line, or JSON: a list, an object of index and label, or a config.json with id2label"


class TopKSettings(StepSettings):
    """Scores come from the model's values by `activation`."""

    input: str = Field(default="logits", description="the name of the input")
    output: str = Field(
        default="", description="the name of the first output, in place of labels (or scores without labels)"
    )
    k: int = Field(default=5, ge=1, description="how many classes to return")
    labels: str | tuple[str, ...] | None = Field(default=None, description="a file of labels, or a list of them")
    classes: int | None = Field(default=None, ge=1, description="the number of classes, where there are no labels")
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        default="softmax", description="what makes scores of the values"
    )
    type: Literal["fp32", "fp16"] = Field(default="fp32", description="the type of the model's values")


def settle_top_k(given: Mapping[str, object], folder: Path) -> SettledStep:
    """Outputs labels (where there are any), scores and indices, all [N, k]."""
    settings = read_settings(TopKSettings, _STEP, given)
    labels = _read_labels(settings.labels, folder)
    classes = settings.classes or len(labels) or None
    if labels and classes != len(labels):
        raise UsageError(f"{_STEP}: there are {len(labels)} labels for {classes} classes")
    if classes is not None and classes < settings.k:
        raise UsageError(f"{_STEP}: `k` is {settings.k}, and there are only {classes} classes")
    outputs = {"scores": DataType.FP32, "indices": DataType.INT64}
    kinds = [("labels", DataType.BYTES), *outputs.items()] if labels else [*outputs.items()]
    if settings.output:
        kinds[0] = (settings.output, kinds[0][1])
    data_type = DataType.FP32 if settings.type == "fp32" else DataType.FP16
    signature = ModelSignature(
        (TensorSpec(settings.input, data_type, (-1, classes or -1)),),
        tuple(TensorSpec(name, kind, (-1, settings.k)) for name, kind in kinds),
    )
    read = {"k": settings.k, "labels": labels, "activation": settings.activation}
    return SettledStep(signature, read, doubt=partial(_doubt, settings.activation))


def _doubt(activation: str, inputs: Sequence[Arrays]) -> str:
    """Probabilities that are made probabilities once more all come out nearly equal."""
    import numpy as np

    values = [array.astype(np.float64) for arrays in inputs for array in arrays.values()]
    if activation == "none" or not values or any((array < 0).any() or (array > 1).any() for array in values):
        return ""
    summed = all(np.allclose(array.sum(axis=-1), 1, atol=1e-3) for array in values)
    if activation == "softmax" and not summed:
        return ""
    return f"its inputs are probabilities already, of which `activation: {activation}` makes others: use `none`"


def _read_labels(given: str | tuple[str, ...] | None, folder: Path) -> list[str]:
    if given is None:
        return []
    labels = _read_file(folder, given) if isinstance(given, str) else list(given)
    if not labels:
        raise UsageError(f"{_STEP}: `labels`: there are none in {given or 'the list'}", hint=_FORMS)
    return labels


def _read_file(folder: Path, file: str) -> list[str]:
    content = read_beside(folder, file, _STEP, "labels")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{_STEP}: `labels`: {folder / file} is not UTF-8 text", hint=_FORMS) from error
    if Path(file).suffix != ".json":
        return text.splitlines()
    try:
        return _list_labels(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{_STEP}: `labels`: {folder / file} holds no labels", hint=_FORMS) from error


def _list_labels(value: Any) -> list[str]:
    """ValueError, TypeError or KeyError where the value is no list of labels."""
    if isinstance(value, dict):
        by_index = {int(index): label for index, label in value.get("id2label", value).items()}
        value = [by_index[index] for index in range(len(by_index))]
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise TypeError
    return value
