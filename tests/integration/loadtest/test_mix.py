"""Several models measured at the same time."""

from __future__ import annotations

import operator
import os
import signal
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_mixed_loadtest
from serve_deploy.loadtest.options.mix import share_loads
from serve_deploy.rendering import render
from serve_deploy.rendering.saved_reports import write_report
from serve_deploy.reports.options import JudgingOptions
from serve_deploy.reports.saved_reports import read_reports
from serve_deploy.triton import TritonServer


@pytest.fixture
def part(triton: TritonServer) -> Any:
    """Options for one model of the mix."""

    def build(model: str, **options: Any) -> LoadTestOptions:
        # A number of requests takes as long as it takes.
        chosen = {"warmup_seconds": 0.0, "duration_seconds": None if "requests" in options else 0.5, **options}
        return LoadTestOptions(endpoint=parse_endpoint(triton.http_url), model=model, **chosen)

    return build


def test_each_model_gets_its_own_load(part: Any) -> None:
    """Every model has a report of exactly what it was sent, as the server counts it, and one adds them up."""
    parts = [
        part("double", loads=(ConstantRate(100),), requests=40, shapes=(("IN", (1,)),), processes=2),
        part("exact", loads=(ConstantRate(50),), requests=20, processes=2),
    ]
    double, exact, together = (named.report for named in run_mixed_loadtest(parts).reports)
    counts = [(report.points[0].sent, report.points[0].succeeded) for report in (double, exact, together)]
    assert counts == [(40, 40), (20, 20), (60, 60)]
    assert [report.points[0].server[0].requests for report in (double, exact)] == [40, 20]
    assert together.points[0].load.request_rate == 150
    assert together.merged_from == ("double", "exact")


@pytest.mark.parametrize(
    "options",
    [{"requests": 40, "duration_seconds": None, "processes": 2}, {"duration_seconds": 1.5, "warmup_seconds": 0.2}],
    ids=["count", "time"],
)
def test_shared_users_keep_the_ratio_whichever_model_is_slow(part: Any, write_data: Any, options: Any) -> None:
    """Of four requests three go to the slow model, and each model's server counts them."""
    slow = part(
        "stall", data=write_data(MILLISECONDS=np.full((1, 1), 10, np.float32)), loads=(ClosedLoop(4),), **options
    )
    parts = share_loads([slow, replace(slow, model="exact", data=None)], [3, 1])
    slow, quick, together = (named.report.points[0] for named in run_mixed_loadtest(parts).reports)
    assert slow.sent + quick.sent == together.sent
    assert abs(slow.sent - 3 * quick.sent) <= 3 * 4
    if "requests" in options:
        assert (slow.sent, quick.sent) == (30, 10)
    assert (slow.load.shared_by, together.load.concurrency, together.load.shared_by) == (2, 4, None)
    assert [each.server[0].requests for each in (slow, quick)] == [slow.succeeded, quick.succeeded]


def test_saved_mix_is_read_back_and_shown_in_short(part: Any, tmp_path: Path) -> None:
    """The file holds every report; the text has a line for each model, and only all together in full."""
    saved = run_mixed_loadtest([part("exact", requests=5), part("exact", requests=5)])
    path = tmp_path / "mix.json"
    write_report(saved, [path])
    read = read_reports([path])
    assert read == saved
    titles = [line for line in render(read, "table").splitlines() if line in ("exact", "all models")]
    assert titles == ["all models"]


def test_measurements_start_together(part: Any) -> None:
    """Each measurement of a model begins while the others' measurement of the same number goes on."""
    loads, seconds = (ClosedLoop(1), ClosedLoop(2)), 0.3
    parts = [part(model, loads=loads, duration_seconds=seconds, warmup_seconds=0.1) for model in ("exact", "double")]
    parts[1] = replace(parts[1], shapes=(("IN", (1,)),))
    exact, double, together = (named.report for named in run_mixed_loadtest(parts).reports)
    assert [point.load.concurrency for point in together.points] == [2, 4]
    for one, other in zip(exact.points, double.points, strict=True):
        begun = (datetime.fromisoformat(point.started_at) for point in (one, other))
        assert abs(operator.sub(*begun)) < timedelta(seconds=seconds)


def test_gate_is_judged_for_each_model(part: Any) -> None:
    """A model that misses its own gate does not fail the others."""
    parts = [
        part("exact", requests=20, judging=JudgingOptions(slo=("errors<1%",))),
        part("exact", requests=20, judging=JudgingOptions(slo=("p99<1us",))),
    ]
    first, second, _ = (named.report for named in run_mixed_loadtest(parts).reports)
    assert [report.gates[0].passed for report in (first, second)] == [True, False]


def test_unknown_model_stops_the_mix_before_the_first_request(part: Any) -> None:
    """The others do not wait for a model that is not there."""
    with pytest.raises(EndpointError, match="serves no model 'nothing'"):
        run_mixed_loadtest([part("exact"), part("nothing")])


def test_interrupt_gives_every_model_a_partial_report(part: Any) -> None:
    """Ctrl-C ends all of them in order."""

    def interrupt(snapshot: Any) -> None:
        if snapshot.succeeded:
            os.kill(os.getpid(), signal.SIGINT)

    parts = [part("exact", duration_seconds=60), part("exact", duration_seconds=60)]
    result = run_mixed_loadtest(parts, on_snapshot=interrupt)
    assert [(named.report.ended_by, len(named.report.points)) for named in result.reports[:2]] == [("interrupt", 1)] * 2


def test_parts_of_different_lengths_are_refused(part: Any) -> None:
    """Two loads cannot be measured together with three."""
    with pytest.raises(UsageError, match="measure different numbers of loads"):
        run_mixed_loadtest([part("exact"), part("exact", loads=(ClosedLoop(1), ClosedLoop(2)))])
