"""What is shown of a model's batching: the verdict, what was not run, what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from serve_cli import output

if TYPE_CHECKING:
    from serve_deploy.manifest import BatchingProof


def describe_batching(proof: BatchingProof) -> Iterator[str]:
    """The verdict; then what was not run, what never varied, and what can be done, a line each."""
    size = f"max_batch_size {proof.max_batch_size}"
    if proof.verdict != "batchable":
        answer = "no" if proof.verdict == "not_batchable" else "not proven"
        yield f"batching: {answer} ({size}): {output.in_flags(proof.evidence)}"
    elif proof.graph and proof.graph.verdict == "unknown":
        yield f"batching: seen in runs at {proof.sizes_run} ({size}); the graph is not understood: {_cause(proof)}"
    else:
        yield f"batching: proven at {proof.sizes_run} ({size})"
    if proof.sizes_not_run:
        yield f"not run: batch {proof.sizes_not_run}"
    for kind, names in (("input", proof.constant_inputs), ("output", proof.constant_outputs)):
        yield from (f"{kind} '{name}' had the same values in every row" for name in names)
    if proof.next_step:
        yield f"to batch it: {output.in_flags(proof.next_step)}"


def _cause(proof: BatchingProof) -> str:
    causes = proof.graph.causes if proof.graph else ()
    return ", ".join(f"{cause.operator} at {cause.node}" for cause in causes[:1]) or "no reason given"
