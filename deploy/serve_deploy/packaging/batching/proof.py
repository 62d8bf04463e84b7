"""Is axis 0 a batch axis? Proven by running the model, never guessed from shapes or names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.packaging.batching.row_checks import Outputs, Refuted, RowChecks, Run
from serve_deploy.packaging.batching.sample_variants import (
    Sample,
    Variant,
    are_equal,
    blend,
    constant_inputs,
    largest_group,
    vary_samples,
)
from serve_deploy.packaging.batching.stacks import Row, Trial, gaps, plan_trials
from serve_deploy.samples.landmarks import NO_LANDMARKS, Landmarks
from serve_deploy.tensors.closeness import SAME_ROW, are_close
from serve_deploy.tensors.types import ModelSignature

# Twice what Triton's auto-complete takes: most of a batch's gain on a CPU, at a latency and memory that still fit
# anywhere; `serve loadtest` finds the best one, and the proof runs the model at this size.
DEFAULT_MAX_BATCH_SIZE = 8

_MOST_SAMPLES = 4
_NEEDED_VARIANTS = 8
_BISECTIONS = 12
_LEAST_SECONDS = 0.5  # which a proof may always take, for all that makes it surer
_MOST_SECONDS = 12.0  # after which it makes do with the trials that it cannot do without


@dataclass(frozen=True)
class _Watch:
    """How long a proof has taken."""

    clock: Callable[[], float]
    started: float

    @property
    def seconds(self) -> float:
        return self.clock() - self.started


def prove_batching(
    run: Run,
    signature: ModelSignature,
    samples: Sequence[Sample],
    *,
    limit: int = DEFAULT_MAX_BATCH_SIZE,
    landmarks: Landmarks = NO_LANDMARKS,
    clock: Callable[[], float] = time.monotonic,
) -> BatchingProof:
    """Run the samples alone and stacked on axis 0, and compare every row of every output with its single run.

    `run` raises InvalidModelError where the model refuses; each sample has 1 on axis 0. `limit` becomes
    max_batch_size where the axis is a batch; it is 0 otherwise, and where it could not be decided. `landmarks` are
    what the model's graph compares its inputs with.
    """
    experiment = _Experiment(run, signature, landmarks, _Watch(clock, clock()))
    reason = signature.batch_obstacle
    if reason is not None:
        step = None
        if _is_declared_wrongly(experiment, samples):
            reason += ", but the model returns one row per sample: a fixed copy with that dimension free would batch"
            step = "`fix` makes that dimension free"
        return BatchingProof(verdict="not_batchable", max_batch_size=0, evidence=reason, next_step=step)
    try:
        return experiment.prove(samples, limit)
    except Refuted as refuted:
        return BatchingProof(verdict=refuted.verdict, max_batch_size=0, evidence=refuted.evidence)


def _is_declared_wrongly(experiment: _Experiment, samples: Sequence[Sample]) -> bool:
    """Whether only outputs are in the way, by a first dim declared fixed that the model does not keep to."""
    signature = experiment.signature
    free = ModelSignature(
        signature.inputs, tuple(replace(tensor, shape=(-1, *tensor.shape[1:])) for tensor in signature.outputs)
    )
    if free.batch_obstacle or not all(tensor.shape for tensor in signature.outputs):
        return False
    try:
        replace(experiment, signature=free).prove(samples, 3)
    except Refuted:
        return False
    return True


@dataclass(frozen=True)
class _Experiment:
    """The model, and what is known of it before it runs."""

    run: Run
    signature: ModelSignature
    landmarks: Landmarks
    watch: _Watch

    def prove(self, samples: Sequence[Sample], limit: int) -> BatchingProof:
        """The proof where every row holds; raises Refuted."""
        plain = self._run_samples(samples)
        rows = [*plain, *self._run_variants(plain)]
        _check_single_outputs(self.signature, rows)
        _require_distinct(rows)
        rows += self._find_boundaries(rows)
        checks = RowChecks.of(self.run, rows)
        plan = plan_trials(rows, limit)
        self._check_until(checks, plan.needed, float("inf"))
        self._check_until(checks, plan.sizes, _MOST_SECONDS)
        self._check_until(checks, plan.further, _LEAST_SECONDS)
        return self._conclude(rows, checks, limit)

    def _check_until(self, checks: RowChecks, trials: Sequence[Trial], most_seconds: float) -> None:
        for trial in trials:
            if self.watch.seconds > most_seconds:
                return
            checks.check(trial)

    def _conclude(self, rows: Sequence[Row], checks: RowChecks, limit: int) -> BatchingProof:
        constant = _constant_outputs(self.signature, rows)
        if len(constant) == len(self.signature.outputs):
            raise Refuted("undecided", "every sample gave the same outputs, so mixed rows would not show")
        sizes = tuple(sorted(checks.sizes))
        proof = BatchingProof(
            verdict="batchable",
            max_batch_size=limit,
            evidence="",
            batch_sizes=sizes,
            batch_sizes_not_run=gaps(sizes, limit),
            largest_difference=checks.largest,
            constant_inputs=constant_inputs([row.sample for row in rows]),
            constant_outputs=tuple(constant),
        )
        return proof.model_copy(update={"evidence": _describe(rows, proof)})

    # --- single runs ------------------------------------------------------------------------------------------------

    def _run_samples(self, samples: Sequence[Sample]) -> list[Row]:
        usable = largest_group(samples)
        if not usable:
            _check_runs_at_one(self.run, samples)
            missing = "with 1 on axis 0 of every input" if samples else "that the model accepts"
            raise Refuted("undecided", f"there is no sample {missing}")
        rows = [Row(sample, self._run_single(sample)) for sample in usable[:_MOST_SAMPLES]]
        _check_deterministic(rows[0].outputs, self._run_single(rows[0].sample))
        return rows

    def _run_single(self, sample: Sample) -> Outputs:
        try:
            return self.run(sample)
        except InvalidModelError as error:
            raise Refuted("undecided", f"the model refuses a sample at batch 1: {error.message}") from error

    def _run_variants(self, plain: Sequence[Row]) -> Iterator[Row]:
        """What the model accepts of each variant; those that need not be are left out when time is short."""
        taken = 0
        for variant in vary_samples([row.sample for row in plain], self.landmarks):
            if taken >= _NEEDED_VARIANTS and self.watch.seconds > _LEAST_SECONDS / 2:
                return
            row = self._run_variant(variant, plain[0].outputs)
            if row is not None:
                taken += 1
                yield row

    def _run_variant(self, variant: Variant, like: Outputs) -> Row | None:
        for sample in variant.alternatives:
            try:
                outputs = self.run(sample)
            except InvalidModelError:
                continue  # the model takes no such values: nothing to learn from them
            if variant.poison and any(outputs[name].shape != array.shape for name, array in like.items()):
                return None
            return Row(sample, outputs, variant.kind, variant.poison)
        return None

    def _find_boundaries(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Rows just on either side of where an answer of labels alone changes: there the least influence shows."""
        if any(array.dtype.kind == "f" for array in rows[0].outputs.values()):
            return
        judged = [row for row in rows if not row.poison]
        pairs = [(one, other) for one, other in pairwise(judged) if not _answer_alike(one, other)]
        for one, other in pairs[:3]:
            low, high = 0.0, 1.0
            for step in range(_BISECTIONS):
                middle = (low + high) / 2
                row = self._run_variant(Variant("boundary", (blend(one.sample, other.sample, middle),)), one.outputs)
                if row is None or self.watch.seconds > _MOST_SECONDS:
                    return
                if step >= _BISECTIONS // 3:
                    yield row
                low, high = (middle, high) if _answer_alike(one, row) else (low, middle)


def _check_runs_at_one(run: Run, samples: Sequence[Sample]) -> None:
    """Refute the axis where the model runs on a sample of several rows but not on its first row alone."""
    for sample in samples:
        if all(array.ndim for array in sample.values()):
            try:
                run({name: array[:1] for name, array in sample.items()})
            except InvalidModelError as error:
                sizes = sorted({array.shape[0] for array in sample.values()})
                raise Refuted(
                    "not_batchable",
                    f"the model runs at {' and '.join(map(str, sizes))} on axis 0 but not at 1: {error.message}",
                ) from error


def _check_deterministic(outputs: Outputs, again: Outputs) -> None:
    for name, expected in outputs.items():
        if not are_close(again[name], expected, SAME_ROW):
            raise Refuted("undecided", f"output '{name}' is random: it differs between two runs on the same sample")


def _check_single_outputs(signature: ModelSignature, rows: Sequence[Row]) -> None:
    for tensor in signature.outputs:
        shapes = [row.outputs[tensor.name].shape for row in rows]
        for shape in shapes:
            if not shape or shape[0] != 1:
                count = f"{shape[0]} rows" if shape else "a scalar"
                raise Refuted("not_batchable", f"output '{tensor.name}' returns {count} for a batch of 1")
        if len(set(shapes)) > 1:
            raise Refuted(
                "not_batchable",
                f"the size of output '{tensor.name}' depends on the values of the sample: "
                + " and ".join(str(list(shape)) for shape in sorted(set(shapes))[:2]),
            )


def _require_distinct(rows: Sequence[Row]) -> None:
    if all(are_equal(rows[0].sample, row.sample) for row in rows[1:]):
        raise Refuted("undecided", "there is only one distinct sample, so mixed rows would not show")


def _answer_alike(one: Row, other: Row) -> bool:
    return all(np.array_equal(array, other.outputs[name]) for name, array in one.outputs.items())


def _constant_outputs(signature: ModelSignature, rows: Sequence[Row]) -> list[str]:
    first, *others = (row for row in rows if not row.poison)
    return [
        tensor.name
        for tensor in signature.outputs
        if all(are_close(row.outputs[tensor.name], first.outputs[tensor.name], SAME_ROW) for row in others)
    ]


def _describe(rows: Sequence[Row], proof: BatchingProof) -> str:
    plain = sum(row.is_plain for row in rows)
    samples = "1 sample" if plain == 1 else f"{plain} different samples"
    kinds = ", ".join(dict.fromkeys(row.kind for row in rows if not row.is_plain))
    others = f" and rows made from them ({kinds})" if kinds else ""
    return (
        f"{samples}{others}, stacked on axis 0 at batch {proof.sizes_run}: every row of every output equals its "
        f"single run (max rel diff {proof.largest_difference:.1e})"
        + "".join(f"; '{name}' did not vary" for name in proof.constant_outputs)
    )
