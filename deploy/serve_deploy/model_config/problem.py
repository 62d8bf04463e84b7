"""One thing that is wrong with a model configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Problem:
    """The field or file, what is wrong with it, and how to fix it."""

    field: str
    message: str
    fix: str


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the name that looks most like the word; "" where none does."""
    by_fold = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.7)
    return f"did you mean '{by_fold[close[0]]}'?" if close else ""


def is_ensemble(config: Any) -> bool:
    """Whether the model runs the steps of an ensemble."""
    return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))


def is_onnx(config: Any) -> bool:
    """Whether Triton's ONNX Runtime backend serves it."""
    return bool(config.backend == "onnxruntime" or config.platform == "onnxruntime_onnx")
