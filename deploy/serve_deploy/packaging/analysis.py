"""What has to be known of a model before it can be configured: its signature, samples, and whether it batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.progress import Progress
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel
    from serve_deploy.onnx.session import Run
    from serve_deploy.samples.files import Sample, Samples
    from serve_deploy.samples.generation import GeneratedSamples

# What is kept beside the model: enough to tell rows apart, and no more than a model's folder should carry.
_FEWEST_SAMPLES, _MOST_SAMPLES = 3, 32
_MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class ModelAnalysis:
    """Findings on one model; `run` runs it in ONNX Runtime and is None where no session was made."""

    signature: ModelSignature
    batching: BatchingProof
    samples: Samples
    samples_are_generated: bool
    run: Run | None
    attempts: tuple[str, ...] = ()
    # The shapes that the first sample's outputs really had.
    returned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_declared(model: OnnxModel, max_batch_size: int, samples: Path | None) -> ModelAnalysis:
    """Believe the user's batch size without running the model; nothing is proven."""
    from serve_deploy.samples.files import read_samples

    signature = _infer_signature(model)
    require_batch_axis(signature, max_batch_size)
    proof = BatchingProof(
        verdict="undecided",
        max_batch_size=max_batch_size,
        evidence="given with --max-batch-size; the model was not run, so nothing is proven",
    )
    given = _keep(read_samples(samples, signature, split=max_batch_size > 0)) if samples else ()
    return ModelAnalysis(signature, proof, given, False, None)


def _infer_signature(model: OnnxModel) -> ModelSignature:
    """The shapes that ONNX Runtime infers; the file's own where it cannot load the model, as one for GPUs only."""
    from serve_deploy.onnx.session import open_session, session_signature

    try:
        return session_signature(open_session(model, repack=False), model)
    except InvalidModelError:
        return model.signature


def analyse_model(
    model: OnnxModel, max_batch_size: int | None, samples: Path | None, progress: Progress
) -> ModelAnalysis:
    """Load the model, get samples that it accepts, and prove whether it batches.

    UsageError where `max_batch_size` is given and the proof says that the model cannot batch.
    """
    from serve_deploy.onnx.session import open_session, session_runner, session_signature
    from serve_deploy.samples.generation import generate_samples

    progress(f"loading {model.path.name} into ONNX Runtime")
    session = open_session(model)
    signature = session_signature(session, model)
    run = session_runner(session)
    attempts: tuple[str, ...] = ()
    if samples:
        found = _read(samples, signature)
    else:
        progress(f"finding inputs that {model.path.name} accepts")
        generated = generate_samples(model, session)
        found, attempts = generated.samples, generated.attempts
    progress(f"proving whether {model.path.name} batches")
    more = partial(generate_samples, model, session) if samples else None
    proof = _prove(run, signature, found, max_batch_size, more).model_copy(update={"attempts": attempts})
    kept = _keep(_whole(samples, signature) if samples and not proof.max_batch_size else found)
    returned = _run_first(run, kept, samples)
    return ModelAnalysis(signature, proof, kept, samples is None, run, attempts, returned)


def _read(path: Path, signature: ModelSignature) -> Samples:
    from serve_deploy.samples.files import read_samples

    return read_samples(path, signature)


def _whole(path: Path, signature: ModelSignature) -> Samples:
    from serve_deploy.samples.files import read_samples

    return read_samples(path, signature, split=False)


def _run_first(run: Run, kept: Samples, given: Path | None) -> dict[str, tuple[int, ...]]:
    """The shapes of the first sample's outputs; UsageError where the model refuses a sample of the user's."""
    if not kept:
        return {}
    try:
        return {name: array.shape for name, array in run(kept[0]).items()}
    except InvalidModelError as error:
        if given is None:
            raise
        raise UsageError(
            f"--samples: the model refuses the first sample of {given}: {error.message}",
            hint="check its shapes and values against what the model was trained on",
        ) from error


def _prove(
    run: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    signature: ModelSignature,
    samples: Samples,
    requested: int | None,
    more: Callable[[], GeneratedSamples] | None,
) -> BatchingProof:
    """Prove it on the samples; where they cannot decide, as a single one cannot, on `more`."""
    from serve_deploy.packaging.batching import DEFAULT_MAX_BATCH_SIZE, prove_batching

    limit = max(DEFAULT_MAX_BATCH_SIZE if requested is None else requested, 2)
    proof = prove_batching(run, signature, samples, limit=limit)
    if proof.verdict == "undecided" and more is not None:
        further = prove_batching(run, signature, more().samples, limit=limit)
        if further.verdict != "undecided":
            reason = f"generated samples, since of the given ones {proof.evidence}: {further.evidence}"
            proof = further.model_copy(update={"evidence": reason})
    if requested is None:
        return proof
    if proof.verdict == "batchable" or requested == 0:
        return proof.model_copy(update={"max_batch_size": requested})
    if proof.verdict == "not_batchable":
        raise UsageError(
            f"--max-batch-size {requested}: the model cannot batch: {proof.evidence}",
            hint="leave the option out, or export the model with a dynamic batch axis in every input and output",
        )
    require_batch_axis(signature, requested)
    return proof.model_copy(
        update={"max_batch_size": requested, "evidence": f"given with --max-batch-size, not proven: {proof.evidence}"}
    )


def _keep(samples: Samples) -> Samples:
    """The first samples: at most 32 of them, and beyond three at most 8 MB."""
    kept: list[Sample] = []
    size = 0
    for sample in samples[:_MOST_SAMPLES]:
        size += sum(array.nbytes for array in sample.values())
        if len(kept) >= _FEWEST_SAMPLES and size > _MOST_BYTES:
            break
        kept.append(sample)
    return tuple(kept)
