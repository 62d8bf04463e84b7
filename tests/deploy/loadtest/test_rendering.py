"""Every format shows the same report; what is said is fixed in golden files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from synthetic_reports import make_point, make_report, make_stalled_point, make_sweep

from serve_deploy.loadtest.gates import evaluate_gates, parse_gate
from serve_deploy.loadtest.rendering import render
from serve_deploy.loadtest.report import BaselineComparison, ErrorKind, LoadTestReport, MetricChange

Golden = Callable[[str, str], None]
GATES = [parse_gate("p99<50ms"), parse_gate("errors<0.1%"), parse_gate("throughput>150/s")]


def make_stalled_report() -> LoadTestReport:
    """One load, a stall, two kinds of errors and a missed gate."""
    errors = (
        ErrorKind(kind="http_503", count=12, example="503 Service Unavailable: <b>queue</b> is | full"),
        ErrorKind(kind="timeout", count=3, example="no answer within 1 s"),
    )
    point = make_stalled_point().model_copy(update={"errors": errors, "sent": 2015, "failed": 12, "timed_out": 3})
    return make_report(point, gates=evaluate_gates(GATES, [point]))


def make_sweep_report() -> LoadTestReport:
    """Five loads of three repeats, the last client-bound, compared with a baseline."""
    points = make_sweep()
    change = MetricChange(
        load=points[0].load, metric="response_p99", before=8_000, now=9_400, change=0.175, change_low=0.12,
        change_high=0.23, verdict="worse", method="repeats", explanation="17.5 % slower",
    )  # fmt: skip
    baseline = BaselineComparison(
        baseline="main.json", baseline_started_at="2026-11-22T03:00:00+00:00", confidence=0.95, minimum_effect=0.05,
        regressed=True, changes=(change,),
    )  # fmt: skip
    return make_report(*points, gates=evaluate_gates(GATES[:1], points), baseline=baseline)


def make_partial_report() -> LoadTestReport:
    """A server that died before it answered anything."""
    reset = ErrorKind(kind="reset", count=4, example="connection reset by peer")
    point = make_point(response_us=np.empty(0), errors=(reset,), in_flight_at_end=2, sent=6, duration_seconds=0.5)
    return make_report(point, complete=False, interrupted_reason="the server stopped answering")


REPORTS = {"stalled": make_stalled_report, "sweep": make_sweep_report, "partial": make_partial_report}


@pytest.mark.parametrize("name", REPORTS)
def test_text_says_it_all(name: str, golden: Golden) -> None:
    """The end table of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.txt", render(REPORTS[name](), "table"))


@pytest.mark.parametrize("name", REPORTS)
def test_markdown_says_it_all(name: str, golden: Golden) -> None:
    """The CI summary of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.md", render(REPORTS[name](), "markdown"))
