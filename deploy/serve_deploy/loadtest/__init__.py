"""Measure a Triton endpoint: loads, requests, hot loop, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serve_deploy.arrivals.shapes import ClosedLoop, ConstantRate, PoissonRate, Ramp, Replay
from serve_deploy.endpoint.address import Endpoint, TlsOptions, parse_endpoint
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.options.loads import Search, parse_loads
from serve_deploy.loadtest.options.mix import MixOptions, split_load
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.options import JudgingOptions

if TYPE_CHECKING:
    from serve_deploy.loadtest.live import Listener
    from serve_deploy.loadtest.workers.pool import Workers
    from serve_deploy.reports.report import LoadTestReport, ReportSet

__all__ = [
    "ClosedLoop",
    "ConstantRate",
    "Endpoint",
    "JudgingOptions",
    "LoadTestOptions",
    "MixOptions",
    "PoissonRate",
    "Ramp",
    "Replay",
    "Search",
    "TlsOptions",
    "parse_endpoint",
    "parse_loads",
    "require_slo",
    "run_loadtest",
    "run_mixed_loadtest",
    "split_load",
]


def run_loadtest(
    options: LoadTestOptions,
    *,
    on_snapshot: Listener | None = None,
    progress: Progress = silent,
    workers: Workers | None = None,
) -> LoadTestReport:
    """Measure a Triton endpoint and return the judged report; `on_snapshot` hears how it goes twice a second.

    `workers` are generator processes that the caller keeps for several runs, so that each does not start its own.

    UsageError and EndpointError say, before the first request, that it cannot be done. Once requests were sent there
    is a report: with `complete` false where Ctrl-C or the server's death cut it short, as `ended_by` says.
    """
    from functools import partial

    from serve_deploy.loadtest.runner import run
    from serve_deploy.loadtest.workers.seat import sit_alone

    listener = on_snapshot or (lambda _snapshot: None)
    return run(options, on_snapshot=listener, progress=progress, take_seat=partial(sit_alone, kept=workers))


def run_mixed_loadtest(
    parts: Sequence[LoadTestOptions],
    *,
    on_snapshot: Listener | None = None,
    progress: Progress = silent,
    workers: Sequence[Workers] | None = None,
) -> ReportSet:
    """Measure several models of one endpoint at the same time: each with its own options, loads and report.

    The n-th measurement of each starts together with the others' n-th. A last report, "all models", adds everything
    up; it is left out where a part was cut short, or the loads are not of one kind. UsageError where the parts measure
    different numbers of loads, or ask for what only one model at a time can have. `workers` are those of each model, in
    generator processes that the caller keeps for several runs.
    """
    from serve_deploy.loadtest.mix import run_mix

    return run_mix(parts, on_snapshot=on_snapshot or (lambda _snapshot: None), progress=progress, kept=workers)


def require_slo(report: LoadTestReport, *gates: str) -> LoadTestReport:
    """Judge a report by gates such as 'p99<50ms' and return it with the verdicts.

    ThresholdError says which were missed and by how much, UsageError what is not a gate.
    """
    from serve_deploy.reports.gates import parse_gate
    from serve_deploy.reports.judging import judge_report, require_passed

    judged = judge_report(report, [parse_gate(gate) for gate in gates])
    require_passed(judged)
    return judged
