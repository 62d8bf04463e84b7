"""Is axis 0 a batch axis? Proven by running the model, never guessed from shapes or names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.packaging.sample_variants import are_equal, largest_group, vary_samples
from serve_deploy.tensors.closeness import SAME_ROW, are_close, compare
from serve_deploy.tensors.types import ModelSignature

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Verdict = Literal["batchable", "not_batchable", "undecided"]

# Twice what Triton's auto-complete takes: most of a batch's gain on a CPU, at a latency and memory that still fit
# anywhere; `serve loadtest` finds the best one, and the proof runs the model at this size.
DEFAULT_MAX_BATCH_SIZE = 8
BATCH_SIZES = (1, 2, 3)


# --- the proof ------------------------------------------------------------------------------------------------------

_LARGEST_STACK = 16  # a limit above this is the user's own and not run in full, so that a proof fits in memory
_MOST_SAMPLES = 4
_FURTHER_SECONDS = 10.0  # after which a proof makes do with the stacks that it needs
_NOISE = 1e-2  # of the largest magnitude: what different kernels at another batch size may explain at all


@dataclass(frozen=True)
class _Row:
    """One sample, what the model answers to it alone, and how the sample was made."""

    sample: Sample
    outputs: Mapping[str, Array]
    scale: float = 1.0


class _Refuted(Exception):
    def __init__(self, verdict: Verdict, evidence: str) -> None:
        super().__init__(evidence)
        self.verdict: Verdict = verdict
        self.evidence = evidence


def prove_batching(
    run: Run,
    signature: ModelSignature,
    samples: Sequence[Sample],
    *,
    limit: int = DEFAULT_MAX_BATCH_SIZE,
    clock: Callable[[], float] = time.monotonic,
) -> BatchingProof:
    """Run the samples alone and stacked on axis 0, and compare every row of every output with its single run.

    `run` raises InvalidModelError where the model refuses; each sample has 1 on axis 0. `limit` becomes
    max_batch_size where the axis is a batch; it is 0 otherwise, and where it could not be decided.
    """
    reason = signature.batch_obstacle
    if reason is not None:
        if _is_declared_wrongly(run, signature, samples, clock):
            reason += ", but the model returns one row per sample: a fixed copy with that dimension free would batch"
        return BatchingProof(verdict="not_batchable", max_batch_size=0, evidence=reason)
    try:
        return _prove(run, signature, samples, limit, clock)
    except _Refuted as refuted:
        return BatchingProof(verdict=refuted.verdict, max_batch_size=0, evidence=refuted.evidence)


def _is_declared_wrongly(
    run: Run, signature: ModelSignature, samples: Sequence[Sample], clock: Callable[[], float]
) -> bool:
    """Whether only outputs are in the way, by a first dim declared fixed that the model does not keep to."""
    free = ModelSignature(
        signature.inputs, tuple(replace(tensor, shape=(-1, *tensor.shape[1:])) for tensor in signature.outputs)
    )
    if free.batch_obstacle or not all(tensor.shape for tensor in signature.outputs):
        return False
    try:
        _prove(run, free, samples, BATCH_SIZES[-1], clock)
    except _Refuted:
        return False
    return True


def _prove(
    run: Run, signature: ModelSignature, samples: Sequence[Sample], limit: int, clock: Callable[[], float]
) -> BatchingProof:
    started = clock()
    rows = _run_rows(run, signature, samples)
    stacks = _plan_stacks(rows, min(limit, _LARGEST_STACK))
    largest = max((_check_stack(run, stack) for stack in stacks.needed), default=0.0)
    for stack in stacks.further:
        if clock() - started > _FURTHER_SECONDS:
            break
        largest = max(largest, _check_stack(run, stack))
    sizes = {1, *map(len, stacks.needed)}
    constant = _constant_outputs(signature, rows)
    if len(constant) == len(signature.outputs):
        raise _Refuted("undecided", "every sample gave the same outputs, so mixed rows would not show")
    return BatchingProof(
        verdict="batchable",
        max_batch_size=limit,
        evidence=_describe(rows, sorted(sizes), largest, constant),
        batch_sizes=tuple(sorted(sizes)),
        largest_difference=largest,
    )


def _describe(rows: Sequence[_Row], sizes: Sequence[int], largest: float, constant: Sequence[str]) -> str:
    plain = sum(row.scale == 1 for row in rows)
    samples = "1 sample" if plain == 1 else f"{plain} different samples"
    scaled = ", also scaled by 1e-4 and ±1e3" if any(row.scale != 1 for row in rows) else ""
    text = (
        f"{samples}{scaled}, stacked on axis 0 at batch {', '.join(map(str, sizes))}: "
        f"every row of every output equals its single run (max rel diff {largest:.1e})"
    )
    names = ", ".join(f"'{name}'" for name in constant)
    return f"{text}; {names} did not vary" if constant else text


# --- single runs ----------------------------------------------------------------------------------------------------


def _run_rows(run: Run, signature: ModelSignature, samples: Sequence[Sample]) -> list[_Row]:
    usable = largest_group(samples)
    if not usable:
        _check_runs_at_one(run, samples)
        missing = "with 1 on axis 0 of every input" if samples else "that the model accepts"
        raise _Refuted("undecided", f"there is no sample {missing}")
    rows = [_Row(sample, _run_single(run, sample)) for sample in usable[:_MOST_SAMPLES]]
    _check_deterministic(run, rows[0])
    for variant, scale in vary_samples([row.sample for row in rows]):
        try:
            rows.append(_Row(variant, run(variant), scale))
        except InvalidModelError:
            continue  # the model takes no such values: nothing to learn from them
    _check_single_outputs(signature, rows)
    if len(rows) < 2 or all(are_equal(rows[0].sample, row.sample) for row in rows[1:]):
        raise _Refuted("undecided", "there is only one distinct sample, so mixed rows would not show")
    return rows


def _check_runs_at_one(run: Run, samples: Sequence[Sample]) -> None:
    """Refute the axis where the model runs on a sample of several rows but not on its first row alone."""
    for sample in samples:
        if all(array.ndim for array in sample.values()):
            try:
                run({name: array[:1] for name, array in sample.items()})
            except InvalidModelError as error:
                sizes = sorted({array.shape[0] for array in sample.values()})
                raise _Refuted(
                    "not_batchable",
                    f"the model runs at {' and '.join(map(str, sizes))} on axis 0 but not at 1: {error.message}",
                ) from error


def _run_single(run: Run, sample: Sample) -> Mapping[str, Array]:
    try:
        return run(sample)
    except InvalidModelError as error:
        raise _Refuted("undecided", f"the model refuses a sample at batch 1: {error.message}") from error


def _check_deterministic(run: Run, row: _Row) -> None:
    again = _run_single(run, row.sample)
    for name, expected in row.outputs.items():
        if not are_close(again[name], expected, SAME_ROW):
            raise _Refuted("undecided", f"output '{name}' is random: it differs between two runs on the same sample")


def _check_single_outputs(signature: ModelSignature, rows: Sequence[_Row]) -> None:
    for tensor in signature.outputs:
        shapes = [row.outputs[tensor.name].shape for row in rows]
        for shape in shapes:
            if not shape or shape[0] != 1:
                count = f"{shape[0]} rows" if shape else "a scalar"
                raise _Refuted("not_batchable", f"output '{tensor.name}' returns {count} for a batch of 1")
        if len(set(shapes)) > 1:
            raise _Refuted(
                "not_batchable",
                f"the size of output '{tensor.name}' depends on the values of the sample: "
                + " and ".join(str(list(shape)) for shape in sorted(set(shapes))[:2]),
            )


def _constant_outputs(signature: ModelSignature, rows: Sequence[_Row]) -> list[str]:
    return [
        tensor.name
        for tensor in signature.outputs
        if all(are_close(row.outputs[tensor.name], rows[0].outputs[tensor.name], SAME_ROW) for row in rows[1:])
    ]


# --- stacked runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stacks:
    """The stacks that a proof needs, and further orders and mixtures that make it surer."""

    needed: Sequence[Sequence[_Row]]
    further: Sequence[Sequence[_Row]]


def _plan_stacks(rows: Sequence[_Row], largest: int) -> _Stacks:
    plain = [row for row in rows if row.scale == 1]
    loud = [row for row in rows if row.scale != 1]
    mixed = [row for pair in zip(plain * len(loud), loud, strict=False) for row in pair]
    needed, further = [], []
    for size in (size for size in BATCH_SIZES[1:] if size <= largest):
        mixtures = [_take(mixed, size, start)[:: -1 if start % 4 else 1] for start in range(0, len(mixed), size)]
        needed += [_take(plain, size, 0), *mixtures[:1]]
        further += [_take(plain, size, 1)[::-1], *mixtures[1:]]
    if largest > BATCH_SIZES[-1]:
        needed.append(_take(rows, largest, 0))
    return _Stacks(needed, further)


def _take(rows: Sequence[_Row], count: int, start: int) -> list[_Row]:
    return [rows[(start + i) % len(rows)] for i in range(count)]


def _check_stack(run: Run, stack: Sequence[_Row]) -> float:
    """Compare each row of the stacked run with its single run; returns the largest relative difference."""
    outputs = _run_stack(run, stack)
    largest = 0.0
    for name, stacked in outputs.items():
        expected = [row.outputs[name] for row in stack]
        _check_stacked_shape(name, stacked, expected)
        for index, single in enumerate(expected):
            row = stacked[index : index + 1]
            difference = compare(row, single, SAME_ROW)
            if difference.problem and not (
                single.dtype.kind == "f" and difference.relative <= _NOISE and _is_noise(run, stack, index, name, row)
            ):
                raise _Refuted(
                    "not_batchable",
                    f"row {index} of output '{name}' changes with the other rows of its batch of {len(stack)}: "
                    f"compared with its single run, it {difference.problem}",
                )
            largest = max(largest, difference.relative)
    return largest


def _run_stack(run: Run, stack: Sequence[_Row]) -> Mapping[str, Array]:
    stacked = {name: np.concatenate([row.sample[name] for row in stack]) for name in stack[0].sample}
    try:
        return run(stacked)
    except InvalidModelError as error:
        raise _Refuted("not_batchable", f"the model does not run at batch {len(stack)}: {error.message}") from error


def _check_stacked_shape(name: str, stacked: Array, expected: Sequence[Array]) -> None:
    wanted = (len(expected), *expected[0].shape[1:])
    if stacked.shape != wanted:
        raise _Refuted(
            "not_batchable",
            f"output '{name}' has shape {list(stacked.shape)} at batch {len(expected)}; one result per row would be "
            f"{list(wanted)}",
        )


def _is_noise(run: Run, stack: Sequence[_Row], index: int, name: str, row: Array) -> bool:
    """Whether the row differs from its single run by the size of the batch alone, not by what else is in it.

    A model whose rounding amplifies the last bit (quantised ones do) differs between batch sizes on its own: then the
    row is the same in a batch of its copies, which a row that the others influence is not.
    """
    copies = _run_stack(run, [stack[index]] * len(stack))[name]
    return len(copies) == len(stack) and are_close(row, copies[index : index + 1], SAME_ROW)
