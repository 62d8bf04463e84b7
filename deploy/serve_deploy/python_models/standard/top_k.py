"""The k highest classes of each row, with their labels: what Triton runs as a standard step of serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text(encoding="utf-8"))
_LABELS = np.array([label.encode() for label in _SETTINGS["labels"]], dtype=object) if _SETTINGS["labels"] else None


def top_k(**inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Scores [N, C] to labels, scores and indices [N, k], the highest first and of equal ones the first first."""
    (logits,) = inputs.values()
    k, classes = _SETTINGS["k"], logits.shape[1]
    if classes < k:
        raise ValueError(f"there are {classes} classes, fewer than k={k}")
    if _LABELS is not None and classes != len(_LABELS):
        raise ValueError(f"there are {classes} classes and {len(_LABELS)} labels")
    scores = _ACTIVATIONS[_SETTINGS["activation"]](logits.astype(np.float32))
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = {"scores": np.take_along_axis(scores, indices, axis=1), "indices": indices.astype(np.int64)}
    return found if _LABELS is None else {"labels": _LABELS[indices], **found}


def _softmax(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))  # no overflow


_ACTIVATIONS = {"softmax": _softmax, "sigmoid": _sigmoid, "none": np.asarray}
