"""Find the highest load of a real endpoint: the search, with a load test as its measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.live import Listener, ignore
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.runner import run
from serve_deploy.loadtest.schedule import ClosedLoop, ConstantRate, LoadShape, PoissonRate
from serve_deploy.loadtest.search import OutOfBudget, SearchOptions, search_load
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.gates import Gate
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport

RunOnce = Callable[[LoadTestOptions], LoadTestReport]


def find_load(
    options: LoadTestOptions,
    search: SearchOptions,
    gates: Sequence[Gate],
    *,
    poisson: bool = False,
    on_snapshot: Listener = ignore,
    progress: Progress = silent,
    run_once: RunOnce | None = None,
) -> LoadTestReport:
    """Search for the highest rate or concurrency that holds the gates, and report all that was measured."""
    if not gates:
        raise UsageError("--find needs a gate that the load has to hold", hint="such as --slo 'p99<50ms'")
    measurements = _Measurements(
        options, run_once or (lambda asked: run(asked, on_snapshot=on_snapshot, progress=progress))
    )
    result, points = search_load(
        lambda load: measurements.measure(_shape(search, load, poisson, options.seed)), gates, search
    )
    last = measurements.reports[-1]
    cut_short = last.points if last.ended_by else ()
    return last.model_copy(update={"kind": "find", "points": (*points, *cut_short), "search": result})


class _Measurements:
    def __init__(self, options: LoadTestOptions, run_once: RunOnce) -> None:
        self._options = options
        self._run_once = run_once
        self.reports: list[LoadTestReport] = []

    def measure(self, shape: LoadShape) -> tuple[Point, ...]:
        self.reports.append(self._run_once(replace(self._options, loads=(shape,))))
        if self.reports[-1].ended_by:
            raise OutOfBudget
        return self.reports[-1].points


def _shape(search: SearchOptions, load: float, poisson: bool, seed: int) -> LoadShape:
    if search.variable == "concurrency":
        return ClosedLoop(int(load))
    return PoissonRate(load, seed) if poisson else ConstantRate(load)
