"""Serve a packaged model with a real Triton, and compare what it answers with ONNX Runtime's own outputs."""

from __future__ import annotations

import random as random_numbers
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import EndpointError, InvalidModelError, VerificationError
from serve_deploy.manifest import Verification
from serve_deploy.packaging.batching.sample_variants import are_equal, blend, can_blend
from serve_deploy.packaging.verification.server import (
    as_client_sees,
    blame,
    require_ready,
    start_to_verify,
    summarize,
)
from serve_deploy.progress import Progress, silent
from serve_deploy.tensors.closeness import SERVED, Difference, are_close, compare, element_scale
from serve_deploy.tensors.types import ModelSignature
from serve_deploy.tensors.wire import count_bytes
from serve_deploy.triton import RuntimeName, ServerOptions, TritonServer
from serve_deploy.triton.log import read_models

if TYPE_CHECKING:
    from serve_deploy.onnx.session import Array, Arrays, Run

_OWN_SECONDS = 30.0
_ROUNDS = 5
_ROUND_SECONDS = 2.0
_MOST_BYTES = 256 << 20
_FEWEST_DISTINCT = 8  # samples that batches are made of, so that each row has many neighbours
_SHARES = (0.5, 0.25, 0.75)
_SEED = 0


@dataclass(frozen=True)
class Subject:
    """The model to verify, in a repository of its own: `samples` are whole, with 1 on the batch axis if it has one.

    `run` is what it is compared with, `reference` what that is called. `cuts_strings`: the backend ends strings at NUL.
    Of an ensemble, `members` are the models whose batches count, and `stacks` are requests of several rows.
    """

    repository: Path
    name: str
    signature: ModelSignature
    max_batch_size: int
    samples: Sequence[Arrays]
    run: Run
    batch_noise: float = 0.0
    reference: str = "ONNX Runtime"
    cuts_strings: bool = True
    members: tuple[str, ...] = ()
    stacks: Sequence[Arrays] = ()
    advice: str = "`max_batch_size=0` runs every request alone, `verify=False` skips this"


@dataclass(frozen=True)
class _Case:
    """A sample, and the model's own outputs to it as a client would see them."""

    sample: Arrays
    expected: Arrays


@dataclass(frozen=True)
class _Judge:
    """What is compared: all outputs but `random` ones, each element by what it usually is."""

    subject: Subject
    random: frozenset[str]
    scales: Mapping[tuple[str, tuple[int, ...]], Array | None]

    def compare(self, outputs: Arrays, case: _Case, *, noise: float, manner: str) -> list[tuple[str, Difference]]:
        """How far each output is from the model's own; VerificationError names those that are too far."""
        differences, wrong = [], []
        for name, own in case.expected.items():
            if name not in outputs:
                wrong.append(f"'{name}' is missing")
            elif name not in self.random:
                difference = compare(outputs[name], own, SERVED, noise=noise, scale=self.scales[name, own.shape])
                differences.append((name, difference))
                wrong += [f"'{name}' {difference.problem}"] if difference.problem else []
            elif outputs[name].ndim != own.ndim:
                wrong.append(f"'{name}' has {outputs[name].ndim} dimensions instead of {own.ndim}")
        if wrong:
            raise VerificationError(
                f"{self.subject.name}: Triton's response to a sample sent {manner} does not match "
                f"{self.subject.reference}: " + "; ".join(wrong),
                hint=f"nothing was written; {self.subject.advice}",
            )
        return differences


def _measure(cases: Sequence[_Case]) -> dict[tuple[str, tuple[int, ...]], Array | None]:
    """The usual size of each element of each output, by its name and shape."""
    answers: dict[tuple[str, tuple[int, ...]], list[Array]] = {}
    for case in cases:
        for name, array in case.expected.items():
            answers.setdefault((name, array.shape), []).append(array)
    return {key: element_scale(arrays) for key, arrays in answers.items()}


def verify_model(subject: Subject, *, runtime: RuntimeName | None = None, progress: Progress = silent) -> Verification:
    """Serve the model strictly as configured and compare every answer, alone and in dynamic batches.

    Raises VerificationError where an output differs, InvalidModelError where Triton refuses the model, and
    TritonStartError where there is no Triton.
    """
    cases = _run_alone(subject)
    stacks = [_Case(stack, _own_outputs(subject, stack)) for stack in subject.stacks]
    judge = _Judge(subject, _find_random(subject, cases), _measure([*cases, *stacks]))
    options = ServerOptions(repository=subject.repository, auto_complete=False, runtime=runtime)
    with start_to_verify(options, progress) as server:
        require_ready(server, subject.name)
        progress(f"comparing {subject.name} with {subject.reference}")
        try:
            requests, differences, largest_batch = _exchange(server, judge, cases, stacks)
        except (VerificationError, EndpointError) as error:
            raise blame(server, error) from error
        logged = read_models(server.log_text())
        # The members of an ensemble load side by side.
        seconds = [logged[name].load_seconds or 0.0 for name in (subject.name, *subject.members) if name in logged]
        verification = Verification(
            runtime=server.runtime,
            triton_version=server.version,
            requests=requests,
            largest_batch_executed=largest_batch,
            tensors=summarize(differences),
            random_outputs=tuple(sorted(judge.random)),
            distinct_samples=len(cases),
            load_seconds=max(seconds, default=0.0),
            memory_bytes=server.memory_bytes(),
        )
    for compiled in [*subject.repository.rglob("__pycache__")]:
        shutil.rmtree(compiled)  # Triton's Python wrote it beside the files
    return verification


def _run_alone(subject: Subject) -> list[_Case]:
    """What the model itself answers: to every sample, or as many as half a minute allows (two at least)."""
    cases: list[_Case] = []
    started = time.monotonic()
    for sample in subject.samples:
        cases.append(_Case(sample, _own_outputs(subject, sample)))
        if len(cases) > 1 and time.monotonic() - started > _OWN_SECONDS:
            return cases
    if subject.max_batch_size > 1:
        cases += _run_blends(subject, cases, started)
    return cases


def _run_blends(subject: Subject, cases: Sequence[_Case], started: float) -> list[_Case]:
    """Rows between those of the samples, where these are few; those that the model refuses are left out."""
    made: list[_Case] = []
    for share, (one, other) in product(_SHARES, zip(cases, [*cases[1:], *cases[:1]], strict=True)):
        if len(cases) + len(made) >= _FEWEST_DISTINCT or time.monotonic() - started > _OWN_SECONDS:
            break
        if not can_blend(one.sample, other.sample):
            continue
        sample = blend(one.sample, other.sample, share)
        try:
            outputs = _own_outputs(subject, sample)
        except InvalidModelError:
            continue
        if not any(are_equal(sample, case.sample) for case in (*cases, *made)):
            made.append(_Case(sample, outputs))
    return made


def _own_outputs(subject: Subject, sample: Arrays) -> Arrays:
    """What the model itself returns, as a client sees it."""
    outputs = subject.run(sample)
    batched, cut = subject.max_batch_size > 0, subject.cuts_strings
    return {
        spec.name: as_client_sees(outputs[spec.name], spec, batched=batched, cuts_strings=cut)
        for spec in subject.signature.outputs
    }


def _find_random(subject: Subject, cases: Sequence[_Case]) -> frozenset[str]:
    """Outputs that differ between two runs of the model itself, in their values or even in their size."""
    if not cases:
        return frozenset()
    again = _own_outputs(subject, cases[0].sample)
    return frozenset(name for name, own in cases[0].expected.items() if not are_close(again[name], own, SERVED))


def _exchange(
    server: TritonServer, judge: _Judge, cases: Sequence[_Case], stacks: Sequence[_Case]
) -> tuple[int, list[tuple[str, Difference]], int]:
    """Send every case alone, then all of them at once until batches form: requests, differences, largest batch."""
    from serve_deploy.packaging.verification.client import VerificationClient

    subject = judge.subject
    with VerificationClient(server.grpc_url, subject.name, subject.members) as client:
        started = time.monotonic()
        differences = [
            difference
            for case in cases
            for difference in judge.compare(client.infer(case.sample), case, noise=0.0, manner="alone")
        ]
        requests = len(cases)
        one_seconds = (time.monotonic() - started) / max(len(cases), 1)
        largest_batch = client.largest_batch()
        numbers = random_numbers.Random(_SEED)  # noqa: S311 - an order, no secret
        for _round in range(_ROUNDS if subject.max_batch_size > 1 else 1):
            crowd = _crowd(cases, subject.max_batch_size, one_seconds)
            numbers.shuffle(crowd)
            for case, outputs in zip(crowd, client.infer_together([case.sample for case in crowd]), strict=True):
                differences += judge.compare(outputs, case, noise=subject.batch_noise, manner="among others")
            requests += len(crowd)
            largest_batch = client.largest_batch()
            if largest_batch > 1:
                break
        for case, outputs in zip(stacks, client.infer_together([case.sample for case in stacks]), strict=True):
            differences += judge.compare(outputs, case, noise=subject.batch_noise, manner="in a batch")
    return requests + len(stacks), differences, largest_batch


def _crowd(cases: Sequence[_Case], max_batch_size: int, one_seconds: float) -> list[_Case]:
    """So many cases that batches form, within two seconds and 256 MB of requests."""
    if not cases:
        return []
    largest_bytes = max(sum(map(count_bytes, case.sample.values())) for case in cases)
    count = min(
        max(16, 4 * max_batch_size),
        max(4, int(_ROUND_SECONDS / one_seconds)),
        max(4, _MOST_BYTES // (largest_bytes + 1)),
    )
    return [cases[index % len(cases)] for index in range(count)]
