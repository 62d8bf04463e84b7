"""The k highest classes of each row, with their labels: what Triton runs as a standard step of serve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]
_SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text(encoding="utf-8"))
_LABELS = np.array([label.encode() for label in _SETTINGS["labels"]], dtype=object) if _SETTINGS["labels"] else None


def top_k(**inputs: _Array) -> tuple[_Array, ...]:
    """Scores [N, C] to labels, scores and indices [N, k], the highest first and of equal ones the first first."""
    (logits,) = inputs.values()
    k, classes = _SETTINGS["k"], logits.shape[1]
    if classes < k:
        raise ValueError(f"there are {classes} classes, fewer than k={k}")
    if _LABELS is not None and classes != len(_LABELS):
        raise ValueError(f"there are {classes} classes and {len(_LABELS)} labels")
    scores = _ACTIVATIONS[_SETTINGS["activation"]](logits.astype(np.float32))
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = (np.take_along_axis(scores, indices, axis=1), indices.astype(np.int64))
    return found if _LABELS is None else (_LABELS[indices], *found)


def _softmax(values: _Array) -> _Array:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(values: _Array) -> _Array:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))  # no overflow


_ACTIVATIONS: dict[str, Callable[[_Array], _Array]] = {"softmax": _softmax, "sigmoid": _sigmoid, "none": np.asarray}
