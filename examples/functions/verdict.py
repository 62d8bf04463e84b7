"""What the digits model saw, in words: post-processing as a plain typed function.

serve package examples/functions/verdict.py -o models
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Read once, when the model loads. The file goes along because its name is written here.
WORDS = np.array((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())
SURE = 0.6


class Verdict(NamedTuple):
    """The outputs by their names."""

    word: Annotated[NDArray[np.str_], "batch"]
    confidence: Annotated[NDArray[np.float32], "batch"]


def verdict(probabilities: Annotated[NDArray[np.float32], "batch", 10]) -> Verdict:
    """The most likely digit as a word, or "unsure"; the rows of a batch come from different requests."""
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be numbers")
    confidence = probabilities.max(axis=1)
    return Verdict(np.where(confidence < SURE, "unsure", WORDS[probabilities.argmax(axis=1)]), confidence)
