"""Requests to a pipeline: the user's, else those that its first models were packaged with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import ServeError, UsageError
from serve_deploy.packaging.findings import keep_samples
from serve_deploy.pipelines.graph import REQUEST, End, Step, Wiring
from serve_deploy.pipelines.members import Member
from serve_deploy.pipelines.plan import Joined
from serve_deploy.pipelines.unify import Unified
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.references.served import Run
    from serve_deploy.samples.files import Array, Sample, Samples

_MOST_SAMPLES = 16


def find_samples(
    path: Path | None, joined: Joined, members: Mapping[str, Member], run: Run | None
) -> tuple[Samples, tuple[str, ...]]:
    """Requests of one row that every step accepts, none where nothing is known of some input; and what was left out.

    Without `run` nobody knows what the steps accept. UsageError where one refuses a sample of the user's.
    """
    if path is not None:
        given = _read(path, joined.unified)[:_MOST_SAMPLES]
        for sample in given:
            if refusal := refusal_of(sample, run):
                message = f"`samples`: a step refuses a sample of {path}: {refusal}"
                raise UsageError(message, hint="check its shapes and values")
        return given, ()
    found = [(sample, refusal_of(sample, run)) for sample in _from_members(joined.wiring, joined.unified, members)]
    refusals = [refusal for _sample, refusal in found if refusal]
    said = f"{len(refusals)} of {len(found)} samples are left out, since a step refuses them: "
    return tuple(sample for sample, refusal in found if not refusal), tuple(f"{said}{each}" for each in refusals[:1])


def find_reaching(path: Path | None, joined: Joined, members: Mapping[str, Member], step: Step) -> Samples:
    """What reaches a step, as its clients see it: the requests run through the members above it.

    None where the requests are not known, or do not come through. UsageError where the user's do not fit.
    """
    wiring, unified = joined.wiring, joined.unified
    requests = _from_members(wiring, unified, members) if path is None else _read(path, unified)[:_MOST_SAMPLES]
    reached = (_run_above(request, wiring, members, step) for request in requests)
    return tuple(sample for sample in reached if sample)


def _run_above(request: Sample, wiring: Wiring, members: Mapping[str, Member], step: Step) -> Sample:
    tensors = {End(REQUEST, name): array for name, array in request.items()}
    waiting = [member for member in members.values() if member.run]
    while ready := next((member for member in waiting if _collect(tensors, wiring, member.step)), None):
        waiting.remove(ready)
        try:
            answer = ready.run(_collect(tensors, wiring, ready.step)) if ready.run else {}
        except ServeError:
            return {}
        tensors |= {End(ready.step.name, name): array for name, array in answer.items()}
    return _collect(tensors, wiring, step)


def _collect(tensors: Mapping[End, Array], wiring: Wiring, step: Step) -> Sample:
    """The inputs of a step; nothing where one that it needs is not there."""
    wires = [wire for wire in wiring.wires if wire.target.step == step.name]
    given = {wire.target.tensor: tensors[wire.source] for wire in wires if wire.source in tensors}
    needed = step.signature.required_inputs
    return given if all(spec.name in given and spec.fits(given[spec.name].shape) for spec in needed) else {}


def stack_rows(samples: Samples, max_batch_size: int) -> Samples:
    """Requests of two rows and of as many as a request may have, where the samples stack."""
    stacks = []
    for size in sorted({2, max_batch_size}) if max_batch_size > 1 and samples else ():
        rows = [samples[index % len(samples)] for index in range(size)]
        shapes = [{name: array.shape for name, array in row.items()} for row in rows]
        if all(shape == shapes[0] for shape in shapes) and all(s[:1] == (1,) for s in shapes[0].values()):
            stacks.append({name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
    return tuple(stacks)


def _read(path: Path, unified: Unified) -> Samples:
    from serve_deploy.samples.files import read_samples

    return read_samples(path, ModelSignature(unified.inputs, unified.outputs), split=unified.max_batch_size > 0)


def refusal_of(sample: Sample, run: Run | None) -> str:
    """What a step says against a sample; empty where all take it."""
    try:
        if run is not None:
            run(sample)
    except ServeError as error:
        return error.message
    return ""


def _from_members(wiring: Wiring, unified: Unified, members: Mapping[str, Member]) -> Samples:
    """For each input the arrays of a model that reads it; as many requests as the model with most samples has."""
    arrays: dict[str, Sequence[Array]] = {}
    for spec in unified.inputs:
        for reader in wiring.readers(End(REQUEST, spec.name)):
            samples = _samples_of(members[reader.step]) if reader.step in members else ()
            there = [each[reader.tensor] for each in samples if reader.tensor in each]
            fitting = [array for array in there if spec.fits(array.shape)]
            if fitting:
                arrays[spec.name] = fitting
                break
    if any(spec.name not in arrays for spec in unified.inputs if not spec.optional) or not arrays:
        return ()
    count = min(_MOST_SAMPLES, max(map(len, arrays.values())))
    made = tuple({name: each[index % len(each)] for name, each in arrays.items()} for index in range(count))
    return keep_samples(made, fewest=2)


def _samples_of(member: Member) -> Samples:
    """Those that the model was packaged with, else what its graph suggests."""
    if member.samples or not member.folder.onnx_files:
        return member.samples
    file = member.folder.onnx_files[-1]
    return _generate(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _generate(file: Path, _changed: int) -> Samples:
    from serve_deploy.onnx.session import open_model
    from serve_deploy.samples.generation import generate_samples

    return generate_samples(open_model(file)).samples
