"""What a model's graph says about its batch axis: the verdict, and the nodes that are its causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["mixes", "unknown"]
GraphVerdict = Literal["independent", "mixes", "unknown"]


@dataclass(frozen=True)
class Cause:
    """One node that mixes rows of the batch, or that is not understood.

    `node` is the node's name, or says whose node it is where it has none. `operator` carries its domain where that is
    not ONNX's own. `outputs` are the model's outputs that the cause reaches. `next_step` is what the user can do, where
    that is more than the general hint.
    """

    node: str
    operator: str
    effect: Effect
    reason: str
    outputs: tuple[str, ...]
    next_step: str | None = None


@dataclass(frozen=True)
class GraphWitness:
    """Whether each row of each output depends on its own row of the inputs alone, as far as the graph tells."""

    verdict: GraphVerdict
    causes: tuple[Cause, ...] = ()
