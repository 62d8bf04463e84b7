"""Measure several models of one endpoint at the same time: a run a model, all on the same generator processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.live import Listener, LiveSnapshot
from serve_deploy.loadtest.measurements.points import few_in_flight
from serve_deploy.loadtest.options import LoadTestOptions, Search
from serve_deploy.loadtest.runner import run
from serve_deploy.loadtest.workers.interruption import Interruption
from serve_deploy.loadtest.workers.pool import Workers, start_workers
from serve_deploy.loadtest.workers.seat import Meeting
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.merging import add_up_models, join_loads
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport, NamedReport, ReportSet

TOTAL_NAME = "all models"
_MOST_NAMES = 3


def run_mix(
    parts: Sequence[LoadTestOptions], *, on_snapshot: Listener, progress: Progress, kept: Sequence[Workers] | None
) -> ReportSet:
    """Measure all parts at once; see `serve_deploy.loadtest.run_mixed_loadtest`."""
    _check_parts(parts)
    processes = max(part.processes for part in parts)
    crowd = _Crowd(on_snapshot)
    with (
        Interruption() as interruption,
        nullcontext(kept) if kept else start_workers(processes, len(parts)) as workers,
        ThreadPoolExecutor(len(parts)) as threads,
    ):
        meeting = Meeting(interruption, workers[: len(parts)])

        def measure(number: int) -> LoadTestReport:
            try:
                return run(
                    parts[number],
                    on_snapshot=lambda snapshot: crowd.hear(number, snapshot),
                    progress=progress if number == 0 else silent,
                    take_seat=lambda _processes: meeting.sit(number),
                )
            except BaseException:
                meeting.break_up()
                raise

        try:
            reports = _gather([threads.submit(measure, number) for number in range(len(parts))])
        except KeyboardInterrupt:
            workers[0].kill()
            raise
    return _put_together(reports)


def _gather(runs: Sequence[Future[LoadTestReport]]) -> list[LoadTestReport]:
    """The reports in order; raises the first error, which the others only suffer from."""
    done, _ = wait(runs, return_when=FIRST_EXCEPTION)
    for each in done:
        each.result()
    return [each.result() for each in runs]


def _check_parts(parts: Sequence[LoadTestOptions]) -> None:
    for part in parts:
        for name in _only_alone(part):
            raise UsageError(f"`{name}` is for one model at a time", hint=f"name one model, or leave out `{name}`")
        if _rhythm(part) != _rhythm(parts[0]):
            raise UsageError(
                f"{parts[0].model} and {part.model} measure different numbers of loads, and cannot be measured at once",
                hint="give each the same number of `loads` and `repeat`, and all or none a warm-up",
            )
    if len(parts) > 1 and len({part.data for part in parts}) == 1 and parts[0].data:
        raise UsageError("`data` is for one model at a time", hint="send samples of all with `repository`")


def _only_alone(part: LoadTestOptions) -> list[str]:
    """What was asked for that only one model at a time can have."""
    asked = {
        "find": isinstance(part.loads, Search),
        "generate": part.generates,
        "baseline": part.judging.baseline is not None,
        "metrics_port": part.metrics_port is not None,
    }
    return [name for name, is_asked in asked.items() if is_asked]


def _rhythm(part: LoadTestOptions) -> tuple[int, int, bool]:
    loads = 0 if isinstance(part.loads, Search) else len(part.loads)
    return loads, part.repeats, part.warmup_seconds > 0


def _put_together(reports: Sequence[LoadTestReport]) -> ReportSet:
    """Each model's report, and one of all together where their measurements add up."""
    reports = _share_costs(reports)
    named = [NamedReport(name=report.target.model, report=report) for report in reports]
    with suppress(UsageError, ValueError):  # loads of different kinds, or a part that was cut short
        named.append(NamedReport(name=TOTAL_NAME, report=_judge_users(add_up_models(reports))))
    return ReportSet(reports=tuple(named))


def _judge_users(together: LoadTestReport) -> LoadTestReport:
    """Say where too few of the users whom models share had a request in flight: each alone does not show it."""
    points = []
    for point in together.points:
        few = few_in_flight(point)
        reasons = tuple(dict.fromkeys((*point.client_bound_reasons, *([few] if few else []))))
        points.append(point.model_copy(update={"client_bound": bool(reasons), "client_bound_reasons": reasons}))
    return together.model_copy(update={"points": tuple(points)})


def _share_costs(reports: Sequence[LoadTestReport]) -> list[LoadTestReport]:
    """Say what was measured together, and what a request of any model cost the generators, whose CPU all share."""
    models = [report.target.model for report in reports]
    longest = max(len(report.points) for report in reports)
    sent = [sum(report.points[i].sent for report in reports if i < len(report.points)) for i in range(longest)]
    shared = []
    for report in reports:
        others = [name for name in models if name != report.target.model]
        beside = ", ".join(others) if len(others) <= _MOST_NAMES else f"{len(others)} other models"
        points = tuple(_share_cost(point, sent[index]) for index, point in enumerate(report.points))
        note = f"Measured at the same time as {beside}: the server's CPU and metrics are those of all together."
        shared.append(report.model_copy(update={"points": points, "notes": (*report.notes, note)}))
    return shared


def _share_cost(point: Point, sent: int) -> Point:
    cost = point.client.cpu_us_per_request * point.sent / max(sent, 1)
    return point.model_copy(update={"client": point.client.model_copy(update={"cpu_us_per_request": cost})})


@dataclass
class _Crowd:
    """Makes one snapshot of those of all models, at the pace of the first."""

    listener: Listener
    _latest: dict[int, LiveSnapshot] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, number: int, snapshot: LiveSnapshot) -> None:
        with self._lock:
            self._latest[number] = snapshot
            if number == 0:
                self.listener(self._sum(snapshot))

    def _sum(self, first: LiveSnapshot) -> LiveSnapshot:
        latest = list(self._latest.values())
        counts = ("sent", "succeeded", "failed", "timed_out", "never_sent", "in_flight", "request_rate")
        try:
            load = join_loads([each.load for each in latest])
        except UsageError:
            load = first.load
        return replace(
            first,
            load=load,
            response_p99_us=max(each.response_p99_us for each in latest),
            **{name: sum(getattr(each, name) for each in latest) for name in counts},
        )
