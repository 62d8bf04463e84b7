"""Two witnesses of a batch axis, runs and the graph, and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_deploy.manifest import BatchingProof, GraphCause, GraphFinding

if TYPE_CHECKING:
    from serve_deploy.batch_axis import GraphWitness

_MOST_CAUSES = 5
_FORCE = "`max_batch_size` sets it all the same; it is then recorded as not proven"
_BELIEVE = "`verify=False` with `max_batch_size` sets it all the same, and rows will then change each other's results"
_EXPORT = "export the model with a free first dimension in every input and output; where it is 1, `fix` may free it"


def join_witnesses(proof: BatchingProof, witness: GraphWitness, *, can_be_set: bool) -> BatchingProof:
    """The verdict on both: runs can refute the graph, and the graph can take back what runs alone did not show.

    `can_be_set` says that the shapes leave room for a batch, so that a user may ask for one.
    """
    proof = _join(proof.model_copy(update={"graph": _record(witness)}))
    return proof.model_copy(update={"next_step": _next_step(proof, can_be_set)})


def _join(proof: BatchingProof) -> BatchingProof:
    graph = proof.graph.verdict if proof.graph else "unknown"
    cause = _first_cause(proof)
    why = f": {_describe(cause)}" if cause else ""
    if proof.verdict == "batchable" and graph == "mixes":
        evidence = f"rows can mix, though the samples did not show it{why}"
        return proof.model_copy(update={"verdict": "undecided", "max_batch_size": 0, "evidence": evidence})
    if graph == "mixes" and cause and cause.operator != "input":
        return _add(proof, f"in the graph, {_describe(cause)}")
    if proof.verdict == "batchable" and graph == "unknown":
        return _add(proof, f"by runs alone, since the graph is not understood{why}")
    return _add(proof, "the graph keeps rows apart, too") if proof.verdict == "batchable" else proof


def _add(proof: BatchingProof, evidence: str) -> BatchingProof:
    return proof.model_copy(update={"evidence": f"{proof.evidence}; {evidence}"})


def _next_step(proof: BatchingProof, can_be_set: bool) -> str | None:
    if proof.verdict == "batchable":
        return None
    cause = _first_cause(proof)
    step = proof.next_step or (cause.next_step if cause else None)
    if not can_be_set:
        is_hopeless = cause is not None and cause.effect == "mixes" and cause.operator != "input"
        return step or (None if is_hopeless else _EXPORT)
    if proof.verdict == "not_batchable":
        return f"{step}; {_BELIEVE}" if step else _BELIEVE
    step = step or (None if proof.graph and proof.graph.verdict == "mixes" else "give other inputs with `samples`")
    return f"{step}; {_FORCE}" if step else _FORCE


def _describe(cause: GraphCause) -> str:
    """Such as "node '/max' (ReduceMax) reduces over the batch axis"."""
    named = cause.node.startswith(("input '", "output '", "the node"))
    node = cause.node if named else f"node '{cause.node}'"
    operator = "" if cause.operator in ("input", "output", "") else f" ({cause.operator})"
    return f"{node}{operator}{':' if cause.reason.startswith('it ') else ''} {cause.reason}"


def _record(witness: GraphWitness) -> GraphFinding:
    causes = [
        GraphCause(
            node=cause.node,
            operator=cause.operator,
            effect=cause.effect,
            reason=cause.reason,
            outputs=cause.outputs,
            next_step=cause.next_step,
        )
        for cause in witness.causes
    ]
    # What mixes before what is not understood, and what can be changed before what cannot.
    causes.sort(key=lambda cause: (cause.effect != "mixes", cause.next_step is None))
    return GraphFinding(verdict=witness.verdict, causes=tuple(causes[:_MOST_CAUSES]))


def _first_cause(proof: BatchingProof) -> GraphCause | None:
    return next(iter(proof.graph.causes), None) if proof.graph else None
