"""What must be known of a Python model before it is configured: what it accepts, and that its rows stay apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.packaging.findings import Findings, keep_samples
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.progress import Progress
from serve_deploy.python_models.adapter.serve_calling import BadResultError
from serve_deploy.python_models.config import on_python
from serve_deploy.python_models.model import PythonModel
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays
    from serve_deploy.samples.files import Samples


@dataclass(frozen=True)
class _WithAllInputs:
    """A Python model whose optional inputs are given, too."""

    model: PythonModel

    @property
    def signature(self) -> ModelSignature:
        inputs = tuple(replace(spec, optional=False) for spec in self.model.signature.inputs)
        return ModelSignature(inputs, self.model.signature.outputs)

    @property
    def symbols(self) -> Mapping[str, tuple[str | None, ...]]:
        return self.model.symbols

    def run(self, inputs: Arrays, *, timeout_seconds: float | None = None) -> Arrays:  # noqa: ARG002 - it ends by itself
        return self.model.run(inputs)


@dataclass(frozen=True)
class _AsItIs(_WithAllInputs):
    """A Python model whose optional inputs are left out."""

    @property
    def signature(self) -> ModelSignature:
        return self.model.signature


def analyse_function(model: PythonModel, options: PackageOptions, progress: Progress) -> Findings:
    """Find inputs, and prove that the rows of a batch stay apart, as the function's types say they do.

    InvalidModelError where they do not, where the function raises on what the user gave, or where it returns something
    else than it says; VerificationError where it accepts nothing.
    """
    batch = model.max_batch_size if options.max_batch_size is None else options.max_batch_size
    if batch and not model.max_batch_size:
        require_batch_axis(model.signature, batch)
        raise UsageError(
            f'`max_batch_size={batch}`: the tensors of {model.source} do not begin with "batch"',
            hint="write it first in each of them, or leave the option out",
        )
    backend = replace(on_python(options.config).backend, parameters=options.framework.named_parameters)
    if not options.runs_model:
        return Findings(signature=model.signature, batching=_believe(model, batch), backend=backend)
    progress(f"finding inputs that {model.source} accepts")
    strict = replace(model, run=partial(_run_strictly, model))
    try:
        samples, attempts = _find_samples(strict, options)
        progress(f"proving whether {model.source} batches")
        proof = _prove(strict, samples, batch).model_copy(update={"attempts": attempts})
    except _WrongResult as wrong:
        raise wrong.error from wrong.error.__cause__
    return Findings(
        signature=model.signature,
        batching=proof,
        samples=samples,
        samples_are_generated=options.samples is None,
        backend=backend,
    )


class _WrongResult(Exception):
    """A result that no other input would make right: neither the search nor the proof goes on after it."""

    def __init__(self, error: InvalidModelError) -> None:
        super().__init__(error.message)
        self.error = error


def _run_strictly(model: PythonModel, arrays: Arrays) -> Arrays:
    try:
        return model.run(arrays)
    except InvalidModelError as error:
        if isinstance(error.__cause__, BadResultError):
            raise _WrongResult(error) from error
        raise


def _believe(model: PythonModel, batch: int) -> BatchingProof:
    evidence = f"{model.source} was not run, so nothing is proven"
    return BatchingProof(verdict="undecided", max_batch_size=batch, evidence=evidence)


def _find_samples(model: PythonModel, options: PackageOptions) -> tuple[Samples, tuple[str, ...]]:
    """Those of the user, those that the step brings, or made ones with and without the optional inputs."""
    from serve_deploy.samples.files import read_samples
    from serve_deploy.samples.generation import search_samples

    if options.samples:
        given = read_samples(options.samples, model.signature, split=model.max_batch_size > 0)
        return keep_samples(given), ()
    if model.samples:
        return tuple(dict(sample) for sample in model.samples), ()
    made = search_samples(_AsItIs(model))
    if not made.samples:
        raise VerificationError(
            f"{model.source} accepted none of the {len(made.attempts)} inputs tried, such as "
            f"{'; '.join(made.attempts[:1])}",
            hint="give real inputs with `samples`",
        )
    if not any(spec.optional for spec in model.signature.inputs):
        return made.samples, made.attempts
    whole = search_samples(_WithAllInputs(model))
    return (*made.samples, *whole.samples), (*made.attempts, *whole.attempts)


def _prove(model: PythonModel, samples: Samples, batch: int) -> BatchingProof:
    """The proof, on the samples without and with optional inputs; what the function raises on them is said."""
    from serve_deploy.packaging.batching.proof import prove_batching

    for sample in samples:
        model.run(sample)
    if not batch:
        said = "the tensors begin with no batch" if not model.max_batch_size else "`max_batch_size=0` was given"
        return BatchingProof(verdict="not_batchable", max_batch_size=0, evidence=said)
    if not model.merges:
        said = "each request is a call of its own, whose rows are as long as its longest"
        return BatchingProof(verdict="undecided", max_batch_size=batch, evidence=said)
    groups = [
        [sample for sample in samples if sample.keys() == keys]
        for keys in {frozenset(s): s.keys() for s in samples}.values()
    ]
    proofs = [prove_batching(model.run, model.signature, group, limit=max(batch, 2)) for group in groups]
    for proof in proofs:
        if proof.verdict == "not_batchable":
            raise InvalidModelError(
                f'{model.source} says by "batch" that rows are apart, and they are not: {proof.evidence}',
                hint='compute each row for itself, or write no "batch" in its types: it then gets single requests',
            )
    weakest = next((proof for proof in proofs if proof.verdict == "undecided"), proofs[0])
    return weakest.model_copy(update={"max_batch_size": batch})
