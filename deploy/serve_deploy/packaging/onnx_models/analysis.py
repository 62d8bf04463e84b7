"""What must be known about a model before it can be configured: its signature, samples, and whether it batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.packaging.batching.witnesses import prove_batches, read_graph
from serve_deploy.packaging.findings import ModelAnalysis, keep_samples
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.progress import Progress
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.samples.files import Samples


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
