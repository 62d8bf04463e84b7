"""Follow the batch axis from the inputs of a model to its outputs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from serve_deploy.batch_axis.endings import FreeSizes, batch_names, batched_input, fixed_input, judge_output
from serve_deploy.batch_axis.values import fixed
from serve_deploy.batch_axis.walk import Walk
from serve_deploy.batch_axis.witness import Cause, GraphWitness

if TYPE_CHECKING:
    from onnx import ModelProto

# Free dimensions are taken to have such sizes, a unit times primes from the second number on: first ones that fit
# tokens and their tables, then ones that survive the strides and windows of networks on images and sound, then the
# small sizes that some of these are made for.
_FREE_SIZES = ((8, 11), (80640, 11), (16, 3))


def trace_batch_axis(proto: ModelProto, batched: Collection[str] | None = None) -> GraphWitness:
    """What becomes of axis 0 of the `batched` inputs (None: every input that is no initializer).

    Axis 0 is taken to be free, also where it is declared to be 1. Needs no external data.
    """
    witness = GraphWitness("unknown")
    for unit, first in _FREE_SIZES:
        witness = _trace(proto, batched, unit, first)
        if witness.verdict != "unknown":
            break
    return witness


def _trace(proto: ModelProto, batched: Collection[str] | None, unit: int, first: int) -> GraphWitness:
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in constants]
    stacked = [each for each in inputs if batched is None or each.name in batched]
    sizes = FreeSizes(unit, first, batch_names(stacked))
    values = [batched_input(each, sizes) if each in stacked else fixed_input(each, sizes) for each in inputs]
    walk = Walk.through(proto)
    walk.add_constants(proto.graph)
    walk.tensors.update(zip((each.name for each in inputs), values, strict=True))
    for node in proto.graph.node:
        walk.step(node)
    return _conclude(proto, walk)


def _conclude(proto: ModelProto, walk: Walk) -> GraphWitness:
    makers = {name: node for node in proto.graph.node for name in node.output}
    reached: dict[Cause, list[str]] = {cause: [] for cause in walk.found}
    for output in proto.graph.output:
        value = walk.tensors.get(output.name, fixed())
        for cause in judge_output(output.name, value, makers.get(output.name)):
            reached.setdefault(cause, []).append(output.name)
    causes = tuple(replace(cause, outputs=tuple(names)) for cause, names in reached.items() if names)
    effects = {cause.effect for cause in causes}
    return GraphWitness("mixes" if "mixes" in effects else "unknown" if effects else "independent", causes)
