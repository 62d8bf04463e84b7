"""What must be known about a model before it can be configured: its signature, samples, and whether it batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.packaging.findings import Findings
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.progress import Progress
from serve_deploy.tensors.types import ModelSignature
from serve_deploy.tensors.wire import count_bytes

if TYPE_CHECKING:
    from serve_deploy.batch_axis import GraphWitness
    from serve_deploy.manifest import StateProof
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.packaging.stateful import StatefulModel
    from serve_deploy.samples.files import Sample, Samples
    from serve_deploy.samples.graph_hints import InputHints
    from serve_deploy.samples.landmarks import Landmarks

# What is kept beside the model: enough to tell rows apart, and no more than a model's folder should carry.
_FEWEST_SAMPLES, _MOST_SAMPLES = 3, 32
_MOST_BYTES = 8 << 20
_FEWEST_TO_COMPARE = 2


@dataclass(frozen=True)
class StatefulAnalysis:
    """A model whose state Triton keeps, and what was proven of its sequences."""

    model: StatefulModel
    proof: StateProof


@dataclass(frozen=True, kw_only=True)
class ModelAnalysis(Findings):
    """Findings on an ONNX model; `returned` has the shapes that the first sample's outputs really had."""

    opened: OpenedModel
    returned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stateful: StatefulAnalysis | None = None


@dataclass(frozen=True)
class Graph:
    """What the graph tells of inputs, of the values it compares them with, and of the batch axis."""

    hints: Mapping[str, InputHints]
    landmarks: Landmarks
    witness: GraphWitness


def analyse_model(opened: OpenedModel, options: PackageOptions, progress: Progress) -> ModelAnalysis:
    """Find samples that the model accepts, and prove whether it batches; believe the user where it is not to be run.

    UsageError where `max_batch_size` is given and the proof says that the model cannot batch.
    """
    if not options.runs_model:
        return _believe(opened, options.max_batch_size or 0, options.samples)
    from serve_deploy.samples.generation import generate_samples

    name, signature = opened.model.path.name, opened.signature
    attempts: tuple[str, ...] = ()
    progress(f"reading the graph of {name}")
    graph = read_graph(opened)
    if options.samples:
        found = _read_samples(options.samples, signature)
    else:
        progress(f"finding inputs that {name} accepts")
        generated = generate_samples(opened, hints=graph.hints)
        found, attempts = generated.samples, generated.attempts
    progress(f"proving whether {name} batches")
    more = (lambda: generate_samples(opened, hints=graph.hints).samples) if options.samples else None
    proof = prove_batches(opened, graph, found, options.max_batch_size, more).model_copy(update={"attempts": attempts})
    if options.samples and not proof.max_batch_size:
        found = _read_samples(options.samples, signature, split=False)
    kept = keep_samples(found)
    if not kept and options.verify and not options.dry_run:
        raise VerificationError(
            f"{opened.model.path} cannot be verified: it accepted none of the {len(attempts)} inputs tried, such as "
            f"{'; '.join(attempts[:1])}",
            hint="give real inputs with `samples`, or package with `verify=False`",
        )
    returned = _run_first(opened, kept, options.samples)
    return ModelAnalysis(
        opened=opened,
        signature=signature,
        batching=proof,
        samples=kept,
        samples_are_generated=options.samples is None,
        metadata=opened.model.metadata,
        returned=returned,
    )


def read_graph(opened: OpenedModel) -> Graph:
    """Look at the graph once: it may be large, and is not kept."""
    from serve_deploy.batch_axis import trace_batch_axis
    from serve_deploy.samples.graph_hints import read_hints
    from serve_deploy.samples.landmarks import read_landmarks

    proto = opened.parse()
    hints = read_hints(proto)
    batched = [tensor.name for tensor in opened.signature.required_inputs]
    return Graph(hints, read_landmarks(proto, hints), trace_batch_axis(proto, batched))


def _believe(opened: OpenedModel, max_batch_size: int, samples: Path | None) -> ModelAnalysis:
    """Take the user's batch size without running the model; nothing is proven."""
    try:
        signature = opened.signature
    except InvalidModelError:
        signature = opened.model.signature  # it cannot be loaded here, as a model for GPUs only: the file's own
    require_batch_axis(signature, max_batch_size)
    proof = BatchingProof(
        verdict="undecided",
        max_batch_size=max_batch_size,
        evidence="max_batch_size was given; the model was not run, so nothing is proven",
    )
    given = keep_samples(_read_samples(samples, signature, split=max_batch_size > 0)) if samples else ()
    return ModelAnalysis(
        opened=opened, signature=signature, batching=proof, samples=given, metadata=opened.model.metadata
    )


def _read_samples(path: Path, signature: ModelSignature, *, split: bool = True) -> Samples:
    from serve_deploy.samples.files import read_samples

    return read_samples(path, signature, split=split)


def _run_first(opened: OpenedModel, kept: Samples, given: Path | None) -> dict[str, tuple[int, ...]]:
    """The shapes of the first sample's outputs; UsageError where the model refuses a sample of the user's."""
    if not kept:
        return {}
    try:
        return {name: array.shape for name, array in opened.run(kept[0]).items()}
    except InvalidModelError as error:
        if given is None:
            raise
        raise UsageError(
            f"`samples`: the model refuses the first sample of {given}: {error.message}",
            hint="check its shapes and values against what the model was trained on",
        ) from error


def prove_batches(
    opened: OpenedModel,
    graph: Graph,
    samples: Samples,
    requested: int | None,
    more: Callable[[], Samples] | None,
) -> BatchingProof:
    """Prove it on the samples; where they cannot decide, or there is only one of them, on `more`."""
    from serve_deploy.packaging.batching import DEFAULT_MAX_BATCH_SIZE, prove_batching
    from serve_deploy.packaging.verdict import join_witnesses

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


def keep_samples(samples: Samples) -> Samples:
    """The first samples: at most 32 of them, and beyond three at most 8 MB."""
    kept: list[Sample] = []
    size = 0
    for sample in samples[:_MOST_SAMPLES]:
        size += sum(map(count_bytes, sample.values()))
        if len(kept) >= _FEWEST_SAMPLES and size > _MOST_BYTES:
            break
        kept.append(sample)
    return tuple(kept)
