"""Carry out a load test: ask the model what it takes, drive the workers, and write down what happened."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import serve_deploy
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Regions, Sample
from serve_deploy.errors import EndpointError
from serve_deploy.loadtest.clients.shared_memory import shared_inputs
from serve_deploy.loadtest.data import read_request_data
from serve_deploy.loadtest.interruption import Interruption
from serve_deploy.loadtest.live import Listener, Pulse, ignore
from serve_deploy.loadtest.loads import describe_load, load_in_words
from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.messages import Job, PeriodEnd, PeriodPlan, Prepare
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.points import ServerShare, build_point
from serve_deploy.loadtest.recorder import SampleBlock
from serve_deploy.loadtest.requests import build_source, check_options
from serve_deploy.loadtest.schedule import LoadShape, Replay
from serve_deploy.loadtest.server_metrics import MetricsSampler
from serve_deploy.loadtest.server_statistics import Document, statistics_difference
from serve_deploy.loadtest.workers import Workers
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.point import ModelStatistics, Point
from serve_deploy.reports.report import LoadTestReport, Target

_UNLIMITED_SECONDS = 1e9
_LEAD_SECONDS = 0.05
_CONTROL_TIMEOUT_SECONDS = 30.0
_PHASES = {"warm-up": "warming up", "measuring": "measuring"}


def run(options: LoadTestOptions, *, on_snapshot: Listener = ignore, progress: Progress = silent) -> LoadTestReport:
    """Measure every point asked for; see `serve_deploy.loadtest.run_loadtest`."""
    timeout_seconds = min(options.timeout_seconds, _CONTROL_TIMEOUT_SECONDS)
    with ControlPlane(options.endpoint, timeout_seconds=timeout_seconds) as control:
        progress(f"asking {options.endpoint.url} about {options.model}")
        server_version = str(control.server_metadata().get("version", ""))
        model = control.describe_model(options.model, options.model_version)
        check_options(options, model)
        samples = read_request_data(options, model)
        with (
            _placed_inputs(options, control, model, samples) as regions,
            Interruption() as interruption,
            Workers(options.processes, interruption) as workers,
        ):
            source = build_source(options, model, samples, regions)
            workers.introduce(
                lambda number: Job(
                    endpoint=options.endpoint,
                    source=source,
                    validate=options.validate,
                    streaming=options.streaming,
                    timeout_seconds=options.timeout_seconds,
                    worker=number,
                    workers=options.processes,
                )
            )
            points = _Points(options, control, model, workers, interruption, on_snapshot, progress)
            points.measure_all()
        return points.report(server_version)


@contextlib.contextmanager
def _placed_inputs(
    options: LoadTestOptions, control: ControlPlane, model: Model, samples: Sequence[Sample]
) -> Iterator[Sequence[Regions | None]]:
    if options.shared_memory == "none":
        yield [None] * len(samples)
        return
    with shared_inputs(control, model, samples) as regions:
        yield regions


class _Points:
    """Measures one point after the other, until all are done or something ends the run."""

    def __init__(
        self,
        options: LoadTestOptions,
        control: ControlPlane,
        model: Model,
        workers: Workers,
        interruption: Interruption,
        on_snapshot: Listener,
        progress: Progress,
    ) -> None:
        self._options = options
        self._control = control
        self._model = model
        self._workers = workers
        self._interruption = interruption
        self._on_snapshot = on_snapshot
        self._progress = progress
        self._points: list[Point] = []
        self._notes: list[str] = []
        self._ended_by: Literal["interrupt", "server"] | None = None
        self._reason: str | None = None

    def measure_all(self) -> None:
        """Measure until the end, or until something ends the run early."""
        for shape, repeat in itertools.product(self._options.loads, range(self._options.repeat)):
            self._measure(shape, repeat)
            if self._is_over("summing up"):
                break

    def _end(self, by: Literal["interrupt", "server"], reason: str) -> None:
        self._ended_by, self._reason = by, reason

    def _measure(self, shape: LoadShape, repeat: int) -> None:
        options = self._options
        if not self._prepare(shape) or self._is_over("connecting"):
            return
        if options.warmup_seconds > 0 and not isinstance(shape, Replay):
            self._progress(f"warming up at {load_in_words(shape)}")
            self._carry_out(shape, repeat, "warm-up", options.warmup_seconds, None)
        self._progress(f"measuring {load_in_words(shape)}")
        before = self._statistics()
        if self._is_over("warming up"):
            return
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        duration = options.duration_seconds if options.duration_seconds is not None else _UNLIMITED_SECONDS
        with MetricsSampler(options.metrics_url, self._model.name) as sampler:
            measurement, ends = self._carry_out(shape, repeat, "measuring", duration, options.requests)
        if sampler.problem:
            self._note(sampler.problem)
        server = ServerShare(self._server_share(before), sampler.means(), sampler.pending(), self._ended_by == "server")
        load = describe_load(shape, options.batch_size)
        seconds = self._period_seconds(measurement)
        self._points.append(build_point(load, repeat, started_at, seconds, measurement, ends, server))

    def _prepare(self, shape: LoadShape) -> bool:
        failure = self._workers.prepare(Prepare(shape, self._connections_each))
        if not failure or self._interruption.happened:
            return True
        reason = f"cannot connect to {self._options.endpoint.url}: {failure}"
        if not self._points:
            raise EndpointError(reason, hint="the control plane answered; is there a proxy or a limit in between?")
        self._end("server", reason)
        return False

    @property
    def _connections_each(self) -> int:
        return max(self._options.connections // self._options.processes, 1)

    def _carry_out(
        self,
        shape: LoadShape,
        repeat: int,
        phase: Literal["warm-up", "measuring"],
        duration: float,
        requests: int | None,
    ) -> tuple[Measurement, dict[int, PeriodEnd]]:
        start = time.monotonic() + _LEAD_SECONDS
        measurement, ends = Measurement(start), dict[int, PeriodEnd]()
        messages = self._workers.measure(
            PeriodPlan(
                shape=shape,
                start=start,
                duration_seconds=duration,
                requests=requests,
                connections=self._connections_each,
            )
        )
        planned = None if duration == _UNLIMITED_SECONDS else duration
        pulse = Pulse(self._on_snapshot, shape, self._options, repeat, phase, planned, start)
        for worker, message in messages:
            if isinstance(message, SampleBlock):
                measurement.add(worker, message)
            elif isinstance(message, PeriodEnd):
                ends[worker] = message
                measurement.add_unfinished(message.unfinished, time.monotonic())
                self._notice_loss(message)
            else:
                pulse.tell(measurement)
        self._is_over(_PHASES[phase])
        return measurement, ends

    def _is_over(self, doing: str) -> bool:
        if self._interruption.happened and not self._ended_by:
            self._end("interrupt", f"interrupted while {doing}")
        return self._ended_by is not None

    def _notice_loss(self, message: PeriodEnd) -> None:
        if message.lost and not self._ended_by:
            self._end("server", f"{self._options.endpoint.url} does not answer any more")
            self._workers.stop()

    def _statistics(self) -> dict[str, list[Document]]:
        names = {self._model.name: self._options.model_version} | dict.fromkeys(self._model.members, "")
        try:
            return {name: self._control.statistics(name, version) for name, version in names.items()}
        except EndpointError as error:
            self._note(f"the server's statistics are missing: {error.message}")
            return {}

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _server_share(self, before: dict[str, list[Document]]) -> tuple[ModelStatistics, ...]:
        if not before or self._ended_by == "server":
            return ()
        after = self._statistics()
        differences = [statistics_difference(before[name], after[name]) for name in before if name in after]
        return tuple(difference for difference in differences if difference)

    def _period_seconds(self, measurement: Measurement) -> float:
        options = self._options
        start, end = measurement.start, measurement.last_end
        if self._ended_by:
            end = time.monotonic()
        elif options.requests is not None:
            start = measurement.first_sent
        elif options.duration_seconds is not None:
            # It lasts that long at least: the gap after the last reply is part of it.
            end = max(start + options.duration_seconds, end)
        return max(end - start, 1e-6)

    def report(self, server_version: str) -> LoadTestReport:
        """The run so far."""
        options, model = self._options, self._model
        return LoadTestReport(
            tool_version=serve_deploy.__version__,
            kind="sweep" if len(options.loads) > 1 else "single",
            target=Target(
                url=options.endpoint.url,
                protocol=options.endpoint.protocol,
                model=model.name,
                model_version=options.model_version or model.version,
                server_version=server_version,
                platform=model.platform,
                max_batch_size=model.max_batch_size,
                model_config_sha256=model.config_sha256,
                instances=model.instances,
                inputs=tuple(map(str, model.inputs)),
                outputs=tuple(map(str, model.outputs)),
            ),
            complete=self._ended_by is None,
            interrupted_reason=self._reason,
            ended_by=self._ended_by,
            points=tuple(self._points),
            notes=tuple(self._notes),
        )
