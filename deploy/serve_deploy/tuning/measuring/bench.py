"""Where candidates are measured: servers that are started when they are first needed, and a checkpoint of it all."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.errors import DestinationError, EndpointError, Interrupted, InvalidModelError, ServeError
from serve_deploy.loadtest import run_loadtest, run_mixed_loadtest
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.options.mix import share_loads
from serve_deploy.loadtest.workers.pool import Workers
from serve_deploy.progress import Progress
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.tuning.candidates.candidate import Candidate
from serve_deploy.tuning.measured import Fallen, Measured, MixedPoint, read_executions
from serve_deploy.tuning.measuring.answers import Questions, keep_answers, keep_member_samples, keep_samples
from serve_deploy.tuning.measuring.checkpoint import Checkpoint
from serve_deploy.tuning.servers.servers import Served, Servers
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Subject, Target

_WARMUP_SHARE = 0.3
# A candidate whose server ends so often by itself is out.
_ENDS = 2


@dataclass(frozen=True)
class RequestSource:
    """What is sent: a file of samples."""

    data: Path
    seed: int = 0


@dataclass
class Bench:
    """Measures candidates; Fallen says that one cannot be, and why, and that is remembered."""

    subject: Subject
    servers: Servers
    checkpoint: Checkpoint
    # Those of each model that is called.
    workers: Sequence[Workers]
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    measurements: int = 0
    measuring_seconds: float = 0.0
    warming_seconds: float = 0.0
    starts: list[float] = field(default_factory=list)
    # What each model and ensemble is sent, and what it answers where that can be compared.
    requests: dict[str, RequestSource] = field(default_factory=dict)
    expected: dict[str, Path] = field(default_factory=dict)
    # How many measurements will have been made when the present stage ends at the latest, for the estimate.
    planned: int = 0
    _begun: float | None = None
    _serving: dict[Candidate, Served] = field(default_factory=dict)

    def measure(
        self,
        candidate: Candidate,
        shape: LoadShape,
        purpose: str,
        *,
        seconds: float,
        rows: int = 1,
        validate: bool = False,
    ) -> Measured:
        """Measure, or take what was measured before a run was cut short."""
        before = self.checkpoint.measurement(candidate, purpose)
        if before is not None:
            return before
        about, measured = self.subject.of(candidate), None
        how: dict[str, Any] = {"seconds": seconds, "rows": rows, "validate": validate}
        # Each round has arrivals of its own, which are the same for all contestants.
        seed = zlib.crc32(purpose.encode())
        while measured is None:
            served = self.serve(candidate)
            self.progress(f"{purpose}{self._estimate()}: {candidate.describe(self.subject.baseline)}")
            try:
                measured = self._measure(served, about, shape, seed=seed, **how)
            except EndpointError as error:
                if served.is_alive():
                    served.require_unchanged()
                    raise self._fall(candidate, error) from error
                self._note_end(candidate, error)
            else:
                served.require_unchanged()
        self.measurements += 1
        self.checkpoint.keep(candidate, purpose, measured)
        return measured

    def prepare(self, options: TuneOptions, note: Callable[[str], None]) -> None:
        """Serve the files' own configurations, and keep what they are sent and answer; InvalidModelError."""
        try:
            served = self.serve(self.subject.baseline)
        except Fallen as fallen:
            raise InvalidModelError(
                f"{self.subject.name} does not load as its file says: {fallen}",
                hint="serve check explains what is wrong",
            ) from fallen
        questions = Questions(served, self.servers.staging, note)
        flows = {flow.name: flow for flow in self.subject.flows}
        inner: dict[str, Path] = {}
        sent = hashlib.sha256()
        for target in self.subject.targets:
            path, samples = keep_samples(self.subject.folders[target.name], options, questions)
            self.requests[target.name] = RequestSource(path, options.seed)
            sent.update(path.read_bytes())
            answers = keep_answers(target.name, samples, questions)
            if answers is not None:
                self.expected[target.name] = answers
            if target.name in flows:
                inner |= keep_member_samples(flows[target.name], samples, questions)
        self.checkpoint.require_same(f"{self.servers.description} {sent.hexdigest()}")
        for name, path in inner.items():
            self.requests.setdefault(name, RequestSource(path, options.seed))

    def plan(self, further: int) -> None:
        """Say how many measurements a stage makes at most."""
        self.planned = self.measurements + further

    def _estimate(self) -> str:
        """What remains of the stage, by how long its kind took so far."""
        if self._begun is None:
            self._begun = self.clock()
        left = self.planned - self.measurements
        if not self.measurements or left <= 0:
            return ""
        seconds = left * (self.clock() - self._begun) / self.measurements
        return f" (at most {left} more, about {max(1, round(seconds / 60))} min)"

    def _require_standing(self, candidate: Candidate) -> None:
        reason = self.checkpoint.failure(candidate)
        if reason is not None:
            raise Fallen(reason)

    def serve(self, candidate: Candidate) -> Served:
        """The candidate's server, started if need be."""
        self._require_standing(candidate)
        if candidate not in self._serving:
            if not self.servers.are_parallel:
                self.stop_all()
            self.progress(f"starting a server: {candidate.describe(self.subject.baseline)}")
            try:
                self._serving[candidate] = self.servers.serve(self.subject.configs(candidate))
            except (Interrupted, DestinationError):
                raise
            except ServeError as error:
                if isinstance(error, EndpointError) and not self.servers.are_parallel:
                    self._note_end(candidate, error)
                raise self._fall(candidate, error) from error
            if (started := self._serving[candidate].start_seconds) is not None:
                self.starts.append(started)
        return self._serving[candidate]

    def _note_end(self, candidate: Candidate, error: EndpointError) -> None:
        """A server that ended may have been killed: it is started again, once, where it is ours.

        Fallen where it ends again under the candidate; EndpointError where it is not ours to start.
        """
        is_first = self.checkpoint.note_end(candidate, error.message) < _ENDS
        fallen = None if is_first else self._fall(candidate, error)
        self.stop(candidate)
        if not self.servers.are_parallel:
            raise EndpointError(
                f"the server ended: {error.message}", hint="start it again; then the same command goes on"
            ) from error
        if fallen:
            raise fallen

    def _fall(self, candidate: Candidate, error: ServeError) -> Fallen:
        self.stop(candidate)
        # The copy that the server had is gone by the time that this is read.
        message = re.sub(rf" of {re.escape(str(self.servers.staging))}/\d+\b", "", error.message)
        if candidate != self.subject.baseline:
            self.checkpoint.keep_failure(candidate, message)
        return Fallen(message)

    def stop(self, candidate: Candidate) -> None:
        """End a candidate's server, if it has one."""
        served = self._serving.pop(candidate, None)
        if served is not None:
            served.close()

    def stop_all(self) -> None:
        """End all servers."""
        for candidate in list(self._serving):
            self.stop(candidate)

    def _measure(
        self, served: Served, about: Subject, shape: LoadShape, *, seconds: float, rows: int, validate: bool, seed: int
    ) -> Measured:
        begun = self.clock()
        options = [
            self._options(served, target, shape, seconds=seconds, rows=rows, validate=validate, seed=seed)
            for target in about.targets
        ]
        point = self._load(options, about)
        taken = self.clock() - begun
        self.measuring_seconds += min(seconds, taken)
        self.warming_seconds += min(_WARMUP_SHARE * seconds, max(0.0, taken - seconds))
        return Measured(
            point=point,
            executions=read_executions(point.server, {part.name: part.prefix for part in about.parts}),
            memory_bytes=served.memory_bytes(),
        )

    def _load(self, options: list[LoadTestOptions], about: Subject) -> MixedPoint:
        """One load test, or one of several models whose requests keep the ratio of their weights."""
        if len(options) == 1:
            reports = [run_loadtest(options[0], workers=self.workers[0])]
        else:
            shared = share_loads(options, list(about.weights.values()))
            reports = [each.report for each in run_mixed_loadtest(shared, workers=self.workers).reports]
        # The last one is of all together.
        points = [_only_point(report) for report in (reports[:-1] or reports)]
        accounts = {each.model: each for point in points for each in point.server}
        if not accounts:
            raise EndpointError("; ".join(reports[0].notes) or "the server stopped answering")
        whole = reports[-1].points[0].model_copy(update={"server": tuple(accounts.values())})
        if not whole.succeeded and not options[0].validate:
            example = whole.errors[0].example if whole.errors else "no request was answered"
            raise EndpointError(f"no request succeeded: {example}")
        parts = zip(about.weights, points, strict=True) if len(options) > 1 else ()
        return _without_timeline(whole, "", tuple(_without_timeline(each, model) for model, each in parts))

    def _options(
        self, served: Served, target: Target, shape: LoadShape, *, seconds: float, rows: int, validate: bool, seed: int
    ) -> LoadTestOptions:
        requests = self.requests[target.name]
        return LoadTestOptions(
            endpoint=served.endpoint,
            model=target.name,
            loads=(shape,),
            duration_seconds=seconds,
            warmup_seconds=seconds * _WARMUP_SHARE,
            batch_size=rows,
            data=requests.data,
            expected=self.expected.get(target.name) if validate else None,
            validate=validate and target.name in self.expected,
            seed=requests.seed + seed,
        )


def _without_timeline(point: Point, model: str, parts: tuple[MixedPoint, ...] = ()) -> MixedPoint:
    return MixedPoint(**{**dict(point), "timeline": (), "model": model, "parts": parts})


def _only_point(report: LoadTestReport) -> Point:
    """The point of a report; EndpointError where the server ended."""
    if report.ended_by == "interrupt":
        raise KeyboardInterrupt
    if report.ended_by == "server" or not report.points:
        raise EndpointError(report.interrupted_reason or "the server stopped answering")
    return report.points[0]
