"""Carry out a load test: ask the model what it takes, drive the workers, and write down what happened."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import serve_deploy
from serve_deploy.errors import EndpointError
from serve_deploy.loadtest.control import ControlPlane, connect_control_plane
from serve_deploy.loadtest.limits import client_bound_reasons
from serve_deploy.loadtest.measurement import Measurement, summarize
from serve_deploy.loadtest.model import Model, read_model
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.recorder import SampleBlock
from serve_deploy.loadtest.report import ClientCost, Load, LoadTestReport, ModelStatistics, Point, Target
from serve_deploy.loadtest.requests import build_source
from serve_deploy.loadtest.schedule import ClosedLoop, ConstantRate, LoadShape, PoissonRate, Ramp, Replay
from serve_deploy.loadtest.server_statistics import Document, statistics_difference
from serve_deploy.loadtest.worker import Job, PeriodEnd, PeriodPlan, Prepare
from serve_deploy.loadtest.workers import Workers
from serve_deploy.progress import Progress, silent

_UNLIMITED_SECONDS = 1e9
_LEAD_SECONDS = 0.05


@dataclass(frozen=True)
class LiveSnapshot:
    """How a period is doing, about twice a second; the rate and `response_p99_us` are of the time since."""

    load: Load
    repeat: int
    phase: str
    elapsed_seconds: float
    planned_seconds: float | None
    request_rate: float
    response_p99_us: float
    sent: int
    succeeded: int
    failed: int
    timed_out: int
    in_flight: int


Listener = Callable[[LiveSnapshot], None]


def ignore(_snapshot: LiveSnapshot) -> None:
    """Listen to nothing."""


def run(options: LoadTestOptions, *, on_snapshot: Listener = ignore, progress: Progress = silent) -> LoadTestReport:
    """Measure every point asked for; see `serve_deploy.loadtest.run_loadtest`."""
    control = connect_control_plane(options.endpoint, timeout_seconds=min(options.timeout_seconds, 30.0))
    try:
        progress(f"asking {options.endpoint.url} about {options.model}")
        return _Run(options, control, on_snapshot, progress).carry_out()
    finally:
        control.close()


class _Run:
    def __init__(
        self, options: LoadTestOptions, control: ControlPlane, on_snapshot: Listener, progress: Progress
    ) -> None:
        self._options = options
        self._control = control
        self._on_snapshot = on_snapshot
        self._progress = progress
        self._points: list[Point] = []
        self._notes: list[str] = []
        self._ended_by: Literal["interrupt", "server"] | None = None
        self._reason: str | None = None

    def carry_out(self) -> LoadTestReport:
        options = self._options
        server = self._control.server_metadata()
        self._model = self._ask_model()
        source = build_source(options, self._model)
        with Workers(options.processes) as self._workers:
            self._workers.introduce(
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
            try:
                for shape, repeat in itertools.product(options.loads, range(options.repeat)):
                    self._measure_point(shape, repeat)
                    if self._ended_by:
                        break
            except KeyboardInterrupt:
                self._ended_by, self._reason = "interrupt", "interrupted before the measurement began"
        return self._report(str(server.get("version", "")))

    def _ask_model(self) -> Model:
        options = self._options
        try:
            metadata = self._control.model_metadata(options.model, options.model_version)
            return read_model(metadata, self._control.model_config(options.model, options.model_version))
        except EndpointError as error:
            served = self._served_models()
            if served and options.model not in served:
                raise EndpointError(
                    f"{options.endpoint.url} serves no model {options.model!r}", hint=f"it has {', '.join(served)}"
                ) from error
            raise

    def _served_models(self) -> list[str]:
        try:
            return sorted({str(entry["name"]) for entry in self._control.repository_index()})
        except EndpointError:
            return []

    def _measure_point(self, shape: LoadShape, repeat: int) -> None:
        options = self._options
        failure = self._workers.prepare(Prepare(shape, self._connections_each))
        if failure:
            reason = f"cannot connect to {options.endpoint.url}: {failure}"
            if not self._points:
                raise EndpointError(reason, hint="the control plane answered; is there a proxy or a limit in between?")
            self._lose(reason)
            return
        if options.warmup_seconds > 0 and not isinstance(shape, Replay):
            self._progress(f"warming up at {describe_in_words(shape)}")
            self._carry_out_period(shape, repeat, "warm-up", options.warmup_seconds, None)
            if self._ended_by:
                return
        before = self._statistics()
        duration = options.duration_seconds if options.duration_seconds is not None else _UNLIMITED_SECONDS
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        measurement, ends = self._carry_out_period(shape, repeat, "measuring", duration, options.requests)
        self._points.append(self._build_point(shape, repeat, started_at, measurement, ends, self._server_share(before)))

    @property
    def _connections_each(self) -> int:
        return max(self._options.connections // self._options.processes, 1)

    def _carry_out_period(
        self, shape: LoadShape, repeat: int, phase: str, duration: float, requests: int | None
    ) -> tuple[Measurement, dict[int, PeriodEnd]]:
        start = time.monotonic() + _LEAD_SECONDS
        measurement, ends = Measurement(start), dict[int, PeriodEnd]()
        plan = PeriodPlan(
            shape=shape,
            start=start,
            duration_seconds=duration,
            requests=requests,
            connections=self._connections_each,
        )
        messages = self._workers.measure(plan)
        last_told = start
        while True:
            try:
                for worker, message in messages:
                    if isinstance(message, SampleBlock):
                        measurement.add(worker, message)
                    elif isinstance(message, PeriodEnd):
                        ends[worker] = message
                        measurement.add_unfinished(message.unfinished, time.monotonic())
                        if message.lost and not self._ended_by:
                            self._lose(f"{self._options.endpoint.url} does not answer any more")
                            self._workers.stop()
                    else:
                        last_told = self._tell(
                            measurement, describe(shape, self._options), repeat, phase, duration, last_told
                        )
                return measurement, ends
            except KeyboardInterrupt:
                self._ended_by, self._reason = "interrupt", f"interrupted while {phase}"
                self._workers.stop()

    def _lose(self, reason: str) -> None:
        self._ended_by, self._reason = "server", reason

    def _tell(
        self, measurement: Measurement, load: Load, repeat: int, phase: str, duration: float, last: float
    ) -> float:
        now = time.monotonic()
        recent, measurement.recent = measurement.recent, type(measurement.recent)()
        self._on_snapshot(
            LiveSnapshot(
                load=load,
                repeat=repeat,
                phase=phase,
                elapsed_seconds=max(now - measurement.start, 0.0),
                planned_seconds=None if duration == _UNLIMITED_SECONDS else duration,
                request_rate=recent.count / max(now - last, 1e-3),
                response_p99_us=recent.percentile_us(99),
                sent=measurement.sent + sum(measurement.in_flight.values()),
                succeeded=measurement.succeeded,
                failed=measurement.failed,
                timed_out=measurement.timed_out,
                in_flight=sum(measurement.in_flight.values()),
            )
        )
        return now

    def _statistics(self) -> dict[str, list[Document]]:
        names = {self._model.name: self._options.model_version} | dict.fromkeys(self._model.members, "")
        try:
            return {name: self._control.statistics(name, version) for name, version in names.items()}
        except EndpointError as error:
            note = f"the server's statistics are missing: {error.message}"
            if note not in self._notes:
                self._notes.append(note)
            return {}

    def _server_share(self, before: dict[str, list[Document]]) -> tuple[ModelStatistics, ...]:
        if not before or self._ended_by == "server":
            return ()
        after = self._statistics()
        differences = [statistics_difference(before[name], after[name]) for name in before if name in after]
        return tuple(difference for difference in differences if difference)

    def _build_point(
        self,
        shape: LoadShape,
        repeat: int,
        started_at: str,
        measurement: Measurement,
        ends: dict[int, PeriodEnd],
        server: tuple[ModelStatistics, ...],
    ) -> Point:
        load = describe(shape, self._options)
        seconds = self._period_seconds(measurement)
        response, slip = summarize(measurement.response), measurement.slip
        mean_in_flight = measurement.in_flight_seconds / seconds
        busiest = max(ends.values(), key=lambda end: end.cpu_seconds / max(end.wall_seconds, 1e-9))
        wall = max(busiest.wall_seconds, 1e-9)
        reasons = client_bound_reasons(
            cpu_fraction=busiest.cpu_seconds / wall,
            starved_fraction=busiest.starved_seconds / wall,
            slip_p99_us=slip.percentile_us(99),
            response_p99_us=response.p99_us,
            concurrency=load.concurrency,
            mean_in_flight=mean_in_flight,
            ran_out_of_connections=any(end.ran_out_of_connections for end in ends.values()),
        )
        return Point(
            load=load,
            repeat=repeat,
            started_at=started_at,
            duration_seconds=seconds,
            sent=measurement.sent,
            succeeded=measurement.succeeded,
            failed=measurement.failed,
            timed_out=measurement.timed_out,
            in_flight_at_end=measurement.unfinished,
            request_rate=measurement.succeeded / seconds,
            throughput=measurement.succeeded * self._options.batch_size / seconds,
            mean_in_flight=mean_in_flight,
            response=response,
            service=summarize(measurement.service),
            failures=summarize(measurement.failures) if measurement.failed else None,
            first_response=summarize(measurement.first_response) if measurement.responses else None,
            responses=measurement.responses or None,
            errors=measurement.error_kinds({worker: end.kinds for worker, end in ends.items()}),
            client=ClientCost(
                cpu_fraction=busiest.cpu_seconds / wall,
                cpu_us_per_request=sum(end.cpu_seconds for end in ends.values()) / max(measurement.sent, 1) * 1e6,
                slip_p50_us=slip.percentile_us(50),
                slip_p99_us=slip.percentile_us(99),
                slip_max_us=slip.max_us,
            ),
            client_bound=bool(reasons),
            client_bound_reasons=reasons,
            server=server,
            timeline=measurement.timeline.buckets(),
        )

    def _period_seconds(self, measurement: Measurement) -> float:
        # A period bound by its duration lasts that long at least: the gap after the last reply is part of it.
        options = self._options
        if self._ended_by:
            end = time.monotonic()
        elif options.duration_seconds is not None and options.requests is None:
            end = max(measurement.start + options.duration_seconds, measurement.last_end)
        else:
            end = measurement.last_end
        start = measurement.first_sent if options.requests is not None else measurement.start
        return max(end - start, 1e-6)

    def _report(self, server_version: str) -> LoadTestReport:
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


def describe(shape: LoadShape, options: LoadTestOptions) -> Load:
    """The load as it stands in the report."""
    batch_size = options.batch_size
    match shape:
        case ClosedLoop(concurrency):
            return Load(mode="closed", concurrency=concurrency, batch_size=batch_size)
        case ConstantRate(rate):
            return Load(mode="open", request_rate=rate, distribution="constant", batch_size=batch_size)
        case PoissonRate(rate):
            return Load(mode="open", request_rate=rate, distribution="poisson", batch_size=batch_size)
        case Ramp(first, last):
            mean = (first + last) / 2
            return Load(
                mode="open",
                request_rate=mean,
                distribution="ramp",
                batch_size=batch_size,
                ramp_from=first,
                ramp_to=last,
            )
        case Replay(offsets, source):
            mean = (len(offsets) - 1) / offsets[-1] if offsets[-1] else float(len(offsets))
            return Load(mode="open", request_rate=mean, distribution="replay", batch_size=batch_size, replay_of=source)


def describe_in_words(shape: LoadShape) -> str:
    """The load for a person."""
    match shape:
        case ClosedLoop(concurrency):
            return f"concurrency {concurrency}"
        case ConstantRate(rate):
            return f"{rate:g} requests/s"
        case PoissonRate(rate):
            return f"{rate:g} requests/s (Poisson)"
        case Ramp(first, last):
            return f"{first:g} to {last:g} requests/s"
        case Replay(_, source):
            return f"the arrivals of {source}"
