"""One run against one endpoint: load after load through the workers, until all are done or something ends it."""

from __future__ import annotations

import errno
import math
import os
import resource
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from serve_deploy.arrivals.shapes import LoadShape, Replay, SharedLoop
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model
from serve_deploy.errors import EndpointError
from serve_deploy.loadtest.clients.recorder import SampleBlock
from serve_deploy.loadtest.live import Listener, Phase, Pulse
from serve_deploy.loadtest.measurements.measurement import Measurement
from serve_deploy.loadtest.measurements.points import ServerShare, build_point
from serve_deploy.loadtest.measurements.server_cpu import CpuMeter
from serve_deploy.loadtest.measurements.server_figures import Document, MetricsSampler, statistics_difference
from serve_deploy.loadtest.measurements.token_questions import TokenQuestions
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.options.loads import Search, describe_load
from serve_deploy.loadtest.search import CutShort, search_load
from serve_deploy.loadtest.workers.messages import PeriodEnd, PeriodPlan, Prepare
from serve_deploy.loadtest.workers.seat import Seat
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.model_config.scheduling import keep_scheduling
from serve_deploy.progress import Progress
from serve_deploy.reports.figures import format_load
from serve_deploy.reports.gates import Gate
from serve_deploy.reports.point import ModelStatistics, Point, RequestData
from serve_deploy.reports.report import LoadTestReport, Member, SearchResult, Target
from serve_deploy.version import __version__

_SHORTEST_BACKLOG_SECONDS = 1.0
# How long, and how often, statistics that others may keep moving are waited for.
_SETTLING_SECONDS, _SETTLINGS = 0.02, 10
_DOING: dict[Phase, str] = {"warm-up": "warming up", "measuring": "measuring"}


@dataclass
class Session:
    """Measures one load after the other, until all are done or something ends the run."""

    options: LoadTestOptions
    # None where the server does not speak Triton's protocol.
    control: ControlPlane | None
    model: Model
    seat: Seat
    on_snapshot: Listener
    progress: Progress
    tokens: TokenQuestions | None = None
    points: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    found: SearchResult | None = None
    ended_by: Literal["interrupt", "server"] | None = None
    reason: str | None = None
    _composed: dict[str, Document] | None = None

    def sweep(self, shapes: Sequence[LoadShape]) -> None:
        """Measure each load as often as asked for, or until something ends the run early."""
        for shape in shapes:
            for repeat in range(self.options.repeats):
                try:
                    self._measure(shape, repeat)
                except threading.BrokenBarrierError:
                    if not self._is_over("waiting for the other models"):
                        self._end("server", "the run of another model ended")
                if self._is_over("summing up"):
                    self.seat.leave()
                    return

    def search(self, asked: Search, gates: Sequence[Gate]) -> None:
        """Find the highest load that meets the gates; points of a load that was cut short come last."""

        def measure(load: float) -> list[Point]:
            before = len(self.points)
            self.sweep([asked.shape(load)])
            if self.ended_by:
                raise CutShort
            return self.points[before:]

        self.found, points = search_load(measure, gates, asked)
        self.points = [*points, *self.points[len(points) :]]

    def _end(self, by: Literal["interrupt", "server"], reason: str) -> None:
        self.ended_by, self.reason = by, reason

    def _measure(self, shape: LoadShape, repeat: int) -> None:
        options, load = self.options, describe_load(shape, self.options.batch_size)
        if not self._prepare(shape) or self._is_over("connecting"):
            return
        if options.warmup_seconds > 0 and not isinstance(shape, Replay):
            self.progress(f"warming up at {format_load(load)}")
            plan = self._plan(shape, options.warmup_seconds, 0.0, None)
            self._carry_out(plan, Pulse(self.on_snapshot, load, repeat, "warm-up", plan))
        self.progress(f"measuring {format_load(load)}")
        before = self._statistics()
        if self._is_over("warming up"):
            return
        with MetricsSampler(options.metrics_url, self.model.name) as sampler, CpuMeter(options.endpoint) as cpu:
            seconds = options.seconds_of(shape)
            # A server that stalled may catch up; at twice what it can do, that takes as long again.
            backlog = min(options.patience_seconds, max(seconds, _SHORTEST_BACKLOG_SECONDS))
            plan = self._plan(shape, seconds, backlog, options.requests)
            started = datetime.now(UTC) + timedelta(seconds=plan.start - time.monotonic())
            started_at = started.isoformat(timespec="milliseconds")
            measurement, ends = self._carry_out(plan, Pulse(self.on_snapshot, load, repeat, "measuring", plan))
        if sampler.problem:
            self._note(sampler.problem)
        server = ServerShare(
            self._server_share(before), sampler.means(), sampler.pending(), cpu.cores, self.ended_by == "server"
        )
        lasted = self._period_seconds(measurement, plan)
        # Users whom models share are some of the time with the others.
        rests = options.generation.prompts.think_time_seconds > 0 or isinstance(shape, SharedLoop)
        point = build_point(load, repeat, started_at, lasted, measurement, ends, server, users_rest=rests)
        if self.tokens and measurement.answers:
            generation = self.tokens.conclude(measurement.answers, lasted)
            point = point.model_copy(update={"generation": generation})
        self.points.append(point)

    def _prepare(self, shape: LoadShape) -> bool:
        failure = self.seat.workers.prepare(Prepare(shape, self._connections_each))
        if not failure or self.seat.interruption.happened:
            return True
        reason = f"cannot connect to {self.options.endpoint.url}: {failure}"
        if not self.points:
            raise EndpointError(reason, hint=_explain_connections(failure))
        self._end("server", reason)
        return False

    @property
    def _connections_each(self) -> int:
        return max(self.options.connections // self.seat.workers.count, 1)

    def _plan(self, shape: LoadShape, seconds: float, backlog_seconds: float, requests: int | None) -> PeriodPlan:
        return PeriodPlan(
            shape=shape,
            start=self.seat.start(shape),
            duration_seconds=seconds,
            backlog_seconds=backlog_seconds,
            requests=requests,
            connections=self._connections_each,
            seed=self.options.seed,
        )

    def _carry_out(self, plan: PeriodPlan, pulse: Pulse) -> tuple[Measurement, dict[int, PeriodEnd]]:
        measurement = Measurement(plan.start, self.tokens.begin(plan.start) if self.tokens else None)
        ends: dict[int, PeriodEnd] = {}
        for worker, message in self.seat.workers.measure(plan):
            if isinstance(message, SampleBlock):
                measurement.add(worker, message)
            elif isinstance(message, PeriodEnd):
                ends[worker] = message
                measurement.add_unfinished(message.unfinished, time.monotonic())
                self._notice_loss(message)
            else:
                pulse.tell(measurement)
        self._is_over(_DOING[pulse.phase])
        return measurement, ends

    def _is_over(self, doing: str) -> bool:
        if self.seat.interruption.happened and not self.ended_by:
            self._end("interrupt", f"interrupted while {doing}")
        return self.ended_by is not None

    def _notice_loss(self, message: PeriodEnd) -> None:
        if message.lost and not self.ended_by:
            self._end("server", f"{self.options.endpoint.url} stopped answering")
            self.seat.workers.stop()

    def _statistics(self) -> dict[str, list[Document]]:
        """What the server has counted, once it is at rest: Triton counts requests after it has answered them."""
        found = self._read_statistics()
        for _ in range(_SETTLINGS if found else 0):
            time.sleep(_SETTLING_SECONDS)
            before, found = found, self._read_statistics()
            if found == before:
                break
        return found

    def _read_statistics(self) -> dict[str, list[Document]]:
        if self.control is None:
            return {}
        try:
            return {name: self.control.statistics(name, version) for name, version in self._executing().items()}
        except EndpointError as error:
            self._note(f"no statistics from the server: {error.message}")
            return {}

    def _executing(self) -> dict[str, str]:
        """The versions of the models that execute requests, by name."""
        if self._composed is None:
            self._composed = self.control.read_composition(self.model) if self.control else {}
        return {self.model.name: self.options.model_version} | dict.fromkeys(self._composed, "")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _server_share(self, before: dict[str, list[Document]]) -> tuple[ModelStatistics, ...]:
        if not before or self.ended_by == "server":
            return ()
        after = self._statistics()
        differences = [statistics_difference(before[name], after[name]) for name in before if name in after]
        return tuple(difference for difference in differences if difference)

    def _period_seconds(self, measurement: Measurement, plan: PeriodPlan) -> float:
        start, end = plan.start, measurement.last_end
        if self.ended_by:
            end = time.monotonic()
        elif plan.requests is not None:
            start = measurement.first_sent
        elif math.isfinite(plan.duration_seconds):
            # It lasts that long at least: the gap after the last reply is part of it.
            end = max(start + plan.duration_seconds, end)
        return max(end - start, 1e-6)

    def report(self, server_version: str, data: RequestData) -> LoadTestReport:
        """The run so far."""
        options, model, loads = self.options, self.model, self.options.loads
        return LoadTestReport(
            tool_version=__version__,
            kind="find" if isinstance(loads, Search) else "sweep" if len(loads) > 1 else "single",
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
                scheduling=model.scheduling or None,
                members=tuple(
                    Member(
                        model=name,
                        model_config_sha256=config_sha256(config),
                        instances=instance_count(config),
                        scheduling=keep_scheduling(config),
                    )
                    for name, config in (self._composed or {}).items()
                ),
                inputs=tuple(map(str, model.inputs)),
                outputs=tuple(map(str, model.outputs)),
            ),
            data=data,
            complete=self.ended_by is None,
            interrupted_reason=self.reason,
            ended_by=self.ended_by,
            points=tuple(self.points),
            search=self.found,
            notes=tuple(self.notes),
        )


def _explain_connections(failure: str) -> str:
    if os.strerror(errno.EMFILE) in failure:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return (
            f"each connection is an open file, and ulimit -n allows {allowed:,} here: "
            "raise it well above the concurrency, or use more `processes`"
        )
    if os.strerror(errno.EADDRNOTAVAIL) in failure:
        return "this machine has no further port for connections to that server: use a lower `concurrency`"
    return "the server itself answers: check for a proxy or a connection limit in between"
