"""Serve a packaged model with a real Triton, and compare what it answers with ONNX Runtime's own outputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError, ServeError, TritonStartError, VerificationError
from serve_deploy.manifest import Verification
from serve_deploy.packaging.own_outputs import Case, Subject, find_random, run_alone
from serve_deploy.packaging.parity import Difference, compare_tensors, summarize_parity
from serve_deploy.progress import Progress, silent
from serve_deploy.triton import RuntimeName, ServerOptions, TritonServer, start_server
from serve_deploy.triton.log import read_models

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_ROUNDS = 5
_ROUND_SECONDS = 2.0
_MOST_BYTES = 256 << 20
_DEATH_SECONDS = 0.5


def verify_model(subject: Subject, *, runtime: RuntimeName | None = None, progress: Progress = silent) -> Verification:
    """Serve the model strictly as configured and compare every answer, alone and in dynamic batches.

    Raises VerificationError where an output differs, InvalidModelError where Triton refuses the model, and
    TritonStartError where there is no Triton.
    """
    cases = run_alone(subject)
    random = find_random(subject, cases)
    options = ServerOptions(repository=subject.repository, auto_complete=False, runtime=runtime)
    with _start(options, progress) as server:
        _require_ready(server, subject.name)
        progress(f"comparing {subject.name} with ONNX Runtime")
        try:
            requests, differences, largest_batch = _exchange(server, subject, cases, random)
        except VerificationError as error:
            raise _blame(server, error) from error
        logged = read_models(server.log_text()).get(subject.name)
        return Verification(
            runtime=server.runtime,
            triton_version=server.version,
            requests=requests,
            largest_batch_executed=largest_batch,
            tensors=summarize_parity(differences),
            random_outputs=tuple(sorted(random)),
            load_seconds=logged.load_seconds if logged else 0.0,
            memory_bytes=server.memory_bytes(),
        )


def _start(options: ServerOptions, progress: Progress) -> TritonServer:
    try:
        return start_server(options, progress=progress)
    except TritonStartError as error:
        hint = error.hint or "see its last lines above"
        raise TritonStartError(error.message, hint=f"{hint}; or package with --no-verify") from error


def _require_ready(server: TritonServer, name: str) -> None:
    states = [state for state in server.model_states() if state.name == name]
    for state in states:
        if state.state != "READY":
            raise InvalidModelError(f"Triton refuses to load {name}: {state.reason or 'it gives no reason'}")
    if not states:
        raise InvalidModelError(f"Triton does not see {name} in its repository")


def _blame(server: TritonServer, error: VerificationError) -> ServeError:
    """A server that died answers nothing wrong."""
    code = server.wait(_DEATH_SECONDS)
    if code is None:
        return error
    return TritonStartError(
        f"Triton ended with exit code {code} while it served the model; its last lines:\n{server.last_lines()}"
    )


def _exchange(
    server: TritonServer, subject: Subject, cases: Sequence[Case], random: frozenset[str]
) -> tuple[int, list[Difference], int]:
    """Send every case alone, then all of them at once until batches form: requests, differences, largest batch."""
    from serve_deploy.packaging.verification_client import VerificationClient

    with VerificationClient(server.grpc_url, subject.name) as client:
        started = time.monotonic()
        differences = [
            difference
            for case in cases
            for difference in _compare(subject, client.infer(case.sample), case, random, noise=0.0, manner="alone")
        ]
        requests = len(cases)
        one_seconds = (time.monotonic() - started) / max(len(cases), 1)
        largest_batch = client.largest_batch()
        for _round in range(_ROUNDS if subject.max_batch_size > 1 else 1):
            crowd = _crowd(cases, subject.max_batch_size, one_seconds)
            for case, outputs in zip(crowd, client.infer_together([case.sample for case in crowd]), strict=True):
                differences += _compare(
                    subject, outputs, case, random, noise=subject.batch_noise, manner="among others"
                )
            requests += len(crowd)
            largest_batch = client.largest_batch()
            if largest_batch > 1:
                break
    return requests, differences, largest_batch


def _crowd(cases: Sequence[Case], max_batch_size: int, one_seconds: float) -> list[Case]:
    """So many cases that batches form, within two seconds and 256 MB of requests."""
    if not cases:
        return []
    largest_bytes = max(sum(array.nbytes for array in case.sample.values()) for case in cases)
    count = min(
        max(16, 4 * max_batch_size),
        max(4, int(_ROUND_SECONDS / one_seconds)),
        max(4, _MOST_BYTES // (largest_bytes + 1)),
    )
    return [cases[index % len(cases)] for index in range(count)]


def _compare(
    subject: Subject,
    outputs: Mapping[str, Array],
    case: Case,
    random: frozenset[str],
    *,
    noise: float,
    manner: str,
) -> list[Difference]:
    differences, wrong = [], []
    for name, own in case.expected.items():
        if name not in outputs:
            wrong.append(f"{name!r} is missing")
        elif name not in random:
            differences.append(compare_tensors(name, outputs[name], own, noise=noise))
        elif outputs[name].ndim != own.ndim:
            wrong.append(f"{name!r} has {outputs[name].ndim} dimensions instead of {own.ndim}")
    wrong += [f"{item.name!r}: {item.problem}" for item in differences if item.problem]
    if wrong:
        raise VerificationError(
            f"{subject.name}: what Triton answers to a sample sent {manner} is not what ONNX Runtime computes: "
            + "; ".join(wrong),
            hint="nothing was written; --max-batch-size 0 serves every request by itself, --no-verify skips this check",
        )
    return differences
