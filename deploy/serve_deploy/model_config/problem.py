"""One thing that is wrong with a model configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Where it is, what is wrong there, and the mend."""

    field: str
    message: str
    mend: str


def is_ensemble(config: Any) -> bool:
    """Whether the model is made of others' steps."""
    return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))


def is_onnx(config: Any) -> bool:
    """Whether Triton's ONNX Runtime backend serves it."""
    return bool(config.backend == "onnxruntime" or config.platform == "onnxruntime_onnx")
