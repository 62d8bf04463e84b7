"""How long a replica is cold: a Triton is started once where there are models, and the rest is assumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.autoscaling.capacity import Circumstances
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import ServeError
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.inference.request import infer
from serve_deploy.planning.result import ColdStart
from serve_deploy.planning.startup import Startup
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_folder import ModelFolder, top_level
from serve_deploy.triton import RuntimeName, ServerOptions, start_server


@dataclass(frozen=True)
class MeasuredStart:
    """Seconds from the start of Triton to its readiness, and to the first answer of every model that clients call.

    `unanswered` are the models that were not asked, each with the reason.
    """

    ready_seconds: float
    answered_seconds: float
    server: str
    unanswered: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """As far as all models are known to serve."""
        return self.ready_seconds if self.unanswered else self.answered_seconds

    @property
    def explanation(self) -> str:
        """How it came about, with a place for the seconds."""
        last = "ready" if self.unanswered else "first answer"
        return f"start to {last} {{:.1f}} (measured here, {self.server})"


def measure_start(
    repository: Path,
    models: Sequence[ModelFolder],
    runtime: RuntimeName | None = None,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> MeasuredStart:
    """Start a Triton on a repository, ask each model that clients call, and end it.

    TritonStartError where it does not start.
    """
    begun = clock()
    with start_server(ServerOptions(repository=repository, runtime=runtime), progress=progress) as server:
        server.require_models()
        ready = clock() - begun
        progress("waiting for the first answers")
        reasons = [_ask(server.http_url, repository, name) for name in top_level(models)]
        return MeasuredStart(
            ready, clock() - begun, f"{server.runtime} Triton {server.version}", tuple(filter(None, reasons))
        )


def _ask(url: str, repository: Path, name: str) -> str:
    """Ask a model for the first time; the reason where it does not answer such a request."""
    try:
        infer(InferenceOptions(endpoint=parse_endpoint(url), model=name, repository=repository, random=True))
    except ServeError as error:
        return f"{name} was not asked for a first answer: {error.message}"
    return ""


def find_cold_start(
    models: Sequence[ModelFolder], given_seconds: float | None, started: MeasuredStart | None, *, gpu: bool
) -> ColdStart:
    """The cold start in a cluster: as it was given, else what was measured here and node and image as assumed."""
    if given_seconds is not None:
        return ColdStart(seconds=given_seconds, origin="`cold_start_seconds`")
    if not models:
        circumstances = Circumstances()
        origin = "assumed: give `repository`, so that a Triton can be started, or `cold_start_seconds`"
        return ColdStart(seconds=circumstances.cold_start_seconds, origin=origin)
    start = Startup.of(models, copies=False, gpu=gpu)
    if started:
        start = replace(start, load_seconds=started.seconds, load_origin=started.explanation)
    measured = started.seconds if started else None
    return ColdStart(seconds=start.cold_start_seconds, origin=start.origin, measured_seconds=measured)
