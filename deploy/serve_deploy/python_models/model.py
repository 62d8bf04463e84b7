"""A Python model: what it takes and returns, its files, and the same function to run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]


def no_doubt(_inputs: Sequence[Arrays]) -> str:
    """Nothing is known that could look wrong."""
    return ""


@dataclass(frozen=True)
class PythonModel:
    """A model for Triton's Python backend, in memory; written it is `files` beside a config.pbtxt.

    Shapes are whole: the leading -1 is the batch where `max_batch_size` is above 0. `files` are by their path in the
    model's folder. `requirements` are the distributions that it imports, as pip takes them. `run` calls the function
    here, without Triton: strings go in as `bytes` or `str` objects and come out as `bytes`; it raises
    InvalidModelError where the function refuses. `samples` are requests of one row, where the step brings some.
    `symbols` names the free dims of each input. Without `merges`, each request is a call of its own, since the shape of
    its results is, too. `doubt` says what looks wrong about inputs that are what the step gets; "" where nothing does.
    """

    source: str
    signature: ModelSignature
    max_batch_size: int
    files: Mapping[str, bytes]
    run: Callable[[Arrays], Arrays]
    requirements: tuple[str, ...] = ()
    samples: tuple[Arrays, ...] = ()
    symbols: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    merges: bool = True
    doubt: Callable[[Sequence[Arrays]], str] = no_doubt
