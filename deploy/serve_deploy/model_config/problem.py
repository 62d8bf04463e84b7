"""One thing that is wrong with a model configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """The field or file, what is wrong with it, and how to fix it."""

    field: str
    message: str
    fix: str


def is_ensemble(config: Any) -> bool:
    """Whether the model runs the steps of an ensemble."""
    return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))


def is_onnx(config: Any) -> bool:
    """Whether Triton's ONNX Runtime backend serves it."""
    return bool(config.backend == "onnxruntime" or config.platform == "onnxruntime_onnx")
