"""Follow the batch axis from the inputs of a model to its outputs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from serve_deploy.batch_axis.witness import Cause, GraphWitness

if TYPE_CHECKING:
    from onnx import ModelProto


def trace_batch_axis(proto: ModelProto, batched: Collection[str] | None = None) -> GraphWitness:
    """What becomes of axis 0 of the `batched` inputs (None: every input that a request must have)."""
    outputs = tuple(value.name for value in proto.graph.output)
    cause = Cause("", "", "unknown", f"the graph is not traced yet from {batched}", outputs)
    return GraphWitness("unknown", (cause,))
