"""Whether a model batches, by both witnesses: what runs show, and what its graph says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.batch_axis import GraphWitness
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.samples.files import Samples
    from serve_deploy.samples.graph_hints import InputHints
    from serve_deploy.samples.landmarks import Landmarks

_FEWEST_TO_COMPARE = 2


@dataclass(frozen=True)
class Graph:
    """What the graph tells of inputs, of the values it compares them with, and of the batch axis."""

    hints: Mapping[str, InputHints]
    landmarks: Landmarks
    witness: GraphWitness


def read_graph(opened: OpenedModel) -> Graph:
    """Look at the graph once: it may be large, and is not kept."""
    from serve_deploy.batch_axis import trace_batch_axis
    from serve_deploy.samples.graph_hints import read_hints
    from serve_deploy.samples.landmarks import read_landmarks

    proto = opened.parse()
    hints = read_hints(proto)
    batched = [tensor.name for tensor in opened.signature.required_inputs]
    return Graph(hints, read_landmarks(proto, hints), trace_batch_axis(proto, batched))


def prove_batches(
    opened: OpenedModel,
    graph: Graph,
    samples: Samples,
    requested: int | None,
    more: Callable[[], Samples] | None,
) -> BatchingProof:
    """Prove it on the samples; where they cannot decide, or there is only one of them, on `more`."""
    from serve_deploy.packaging.batching.proof import DEFAULT_MAX_BATCH_SIZE, prove_batching
    from serve_deploy.packaging.batching.verdict import join_witnesses

    signature = opened.signature
    limit = max(DEFAULT_MAX_BATCH_SIZE if requested is None else requested, 2)
    proof = prove_batching(opened.run, signature, samples, limit=limit, landmarks=graph.landmarks)
    few = proof.verdict == "batchable" and len(samples) < _FEWEST_TO_COMPARE
    if more is not None and (few or proof.verdict == "undecided"):
        further = prove_batching(opened.run, signature, more(), limit=limit, landmarks=graph.landmarks)
        if further.verdict != "undecided":
            evidence = f"on generated samples (with the given ones {proof.evidence}): {further.evidence}"
            proof = further.model_copy(update={"evidence": evidence})
    proof = join_witnesses(proof, graph.witness, can_be_set=signature.batch_obstacle is None)
    return proof if requested is None else _as_requested(proof, signature, requested)


def _as_requested(proof: BatchingProof, signature: ModelSignature, requested: int) -> BatchingProof:
    """The user's size: proven, or taken as it is where nothing was shown against it; else UsageError."""
    if proof.verdict == "batchable" or requested == 0:
        return proof.model_copy(update={"max_batch_size": requested})
    if proof.verdict == "not_batchable":
        raise UsageError(
            f"`max_batch_size={requested}`: the model cannot batch: {proof.evidence}",
            hint=f"leave the option out; or {proof.next_step}" if proof.next_step else "leave the option out",
        )
    require_batch_axis(signature, requested)
    evidence = f"max_batch_size was given and is not proven: {proof.evidence}"
    return proof.model_copy(update={"max_batch_size": requested, "evidence": evidence, "next_step": None})
