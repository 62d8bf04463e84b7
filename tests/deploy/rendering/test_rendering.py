"""Every format shows the same report; what is said is fixed in golden files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from synthetic_reports import make_point, make_report, make_stalled_point, make_sweep

from serve_deploy.rendering import Format, render
from serve_deploy.rendering.charts.share import split_service_time
from serve_deploy.reports.gates import evaluate_gates, parse_gate
from serve_deploy.reports.point import ErrorKind, Load
from serve_deploy.reports.report import BaselineComparison, LoadTestReport, MetricChange, NamedReport, ReportSet

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


def make_repeated_report() -> LoadTestReport:
    """One load, three times."""
    return make_report(*make_sweep()[:3])


REPORTS = {
    "stalled": make_stalled_report,
    "sweep": make_sweep_report,
    "partial": make_partial_report,
    "repeated": make_repeated_report,
}


@pytest.mark.parametrize("name", REPORTS)
def test_text_says_it_all(name: str, golden: Golden) -> None:
    """The end table of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.txt", render(REPORTS[name](), "table"))


@pytest.mark.parametrize("name", REPORTS)
def test_markdown_says_it_all(name: str, golden: Golden) -> None:
    """The CI summary of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.md", render(REPORTS[name](), "markdown"))


@pytest.mark.parametrize("name", REPORTS)
def test_junit_is_fixed(name: str, golden: Golden) -> None:
    """Gates and comparisons as test cases, of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.xml", render(REPORTS[name](), "junit"))


@pytest.mark.parametrize("name", REPORTS)
def test_csv_is_fixed(name: str, golden: Golden) -> None:
    """One row a measurement in full precision, of one load, of a sweep and of a run that died."""
    golden(f"loadtest/{name}.csv", render(REPORTS[name](), "csv"))


@pytest.mark.parametrize("name", ["stalled", "partial"])
def test_html_is_fixed(name: str, golden: Golden) -> None:
    """The page of one load and of a run that died, without its drawings and style."""
    page = render(REPORTS[name](), "html")
    golden(f"loadtest/{name}.html", re.sub(r"<(svg|style)\b.*?</\1>\n?", "", page, flags=re.DOTALL))


def test_drawings_are_fixed(golden: Golden) -> None:
    """Every kind of chart, as it is drawn for a phone."""
    charts = [
        *re.findall(r'<svg class="narrow".*?</svg>', render(make_stalled_report(), "html"), flags=re.DOTALL),
        *re.findall(r'<svg class="narrow".*?</svg>', render(make_sweep_report(), "html"), flags=re.DOTALL)[:3],
    ]
    golden("loadtest/charts.svg", "\n\n".join(charts) + "\n")


def test_junit_counts_its_cases() -> None:
    """Failures, errors and skips are counted where CI systems look for them."""
    suite = xml.fromstring(render(make_sweep_report(), "junit")).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "2", "0")
    died = xml.fromstring(render(make_partial_report(), "junit"))
    assert died.get("errors") == "1"


def test_junit_can_say_anything() -> None:
    """An error message with control characters still gives well-formed XML."""
    error = ErrorKind(kind="http_500", count=1, example="\x00\x1b[31mno\ud800 ]]> <&")
    gate = make_stalled_report().gates[0].model_copy(update={"explanation": error.example})
    report = make_report(make_point(errors=(error,)), gates=(gate,))
    failure = xml.fromstring(render(report, "junit")).find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "\ufffd\ufffd[31mno\ufffd ]]> <&"


def test_an_error_cannot_command_the_terminal() -> None:
    """Escape sequences in what a server said reach the terminal as marks, not as commands."""
    error = ErrorKind(kind="http_500", count=1, example="\x1b]0;owned\x07\x9b31mred")
    text = render(make_report(make_point(errors=(error,))), "table")
    assert "\ufffd]0;owned\ufffd\ufffd31mred" in text


def test_a_wide_table_keeps_to_the_terminal() -> None:
    """Of many loads, the table leaves out what is missed least rather than break its lines; p99 stays."""
    long = Load(mode="open", request_rate=12_000.0, distribution="poisson")
    point = make_point(long, client_bound=True)
    reports = tuple(NamedReport(name=f"machine-{number}.json", report=make_report(point)) for number in range(2))
    lines = render(ReportSet(reports=reports), "table").splitlines()
    assert max(len(line) for line in lines if "client-bound" in line) <= 100
    assert "  p99  " in lines[0]


def test_the_servers_machine_is_shown() -> None:
    """GPU, CPU and waiting requests of --metrics-url are in the table and on the page."""
    metrics = {"nv_gpu_utilization": 0.5, "nv_gpu_memory_used_bytes": 3.0 * 2**30, "nv_cpu_utilization": 0.25}
    report = make_report(make_point(server_metrics=metrics, pending=1.5))
    assert "GPU 50.0 %, GPU memory 3.00 GiB, CPU 25.0 %, 1.50 requests waiting" in render(report, "table")
    page = render(report, "html")
    assert 'data-key="0/200/s/pending">1.50 requests waiting' in page
    assert 'value="0.5" data-key="0/200/s/server_metrics.nv_gpu_utilization">GPU 50.0 %' in page


def test_an_ensembles_compute_time_counts_once() -> None:
    """Triton's account of an ensemble has its members' compute times in it, but not their time in the queue."""
    (member,) = make_point(response_us=np.full(100, 5000.0)).server
    ensemble = member.model_copy(update={"model": "ensemble", "queue_us": 1.0})
    share = split_service_time(make_point(response_us=np.full(100, 5000.0), server=(ensemble, member)))
    assert share["queue"] == pytest.approx(1.0 + member.queue_us)
    assert share["infer"] == member.compute_infer_us
    assert sum(share.values()) == pytest.approx(5000.0)


def test_csv_keeps_the_full_precision() -> None:
    """What the table rounds, the CSV does not."""
    report = make_stalled_report()
    (row,) = csv.DictReader(io.StringIO(render(report, "csv")))
    point = report.points[0]
    assert float(row["response_p99_us"]) == point.response.p99_us
    assert (int(row["sent"]), float(row["error_rate"])) == (2015, 15 / 2015)


def test_markdown_escapes_what_errors_say() -> None:
    """An error message can neither break the table nor bring markup of its own."""
    text = render(make_stalled_report(), "markdown")
    (line,) = [line for line in text.splitlines() if line.startswith("| http_503")]
    assert line.replace("\\|", "").count("|") == 5
    assert "<" not in re.sub(r"`[^`]*`", "", text)
    assert "&lt;b&gt;queue&lt;/b&gt;" in line


@pytest.mark.parametrize("output_format", ["table", "markdown", "csv", "junit", "html"])
def test_nothing_measured_is_still_a_report(output_format: Format) -> None:
    """A run that was interrupted before its first point renders in every format."""
    report = make_report(complete=False, interrupted_reason="interrupted").model_copy(update={"points": ()})
    assert "digits" in render(report, output_format) or output_format == "csv"


@pytest.mark.parametrize("output_format", ["table", "markdown", "csv", "junit", "html"])
def test_several_reports_keep_their_names(output_format: Format) -> None:
    """Each format tells runs that stand side by side apart."""
    reports = [("before.json", make_report()), ("after.json", make_stalled_report())]
    both = ReportSet(reports=tuple(NamedReport(name=name, report=report) for name, report in reports))
    text = render(both, output_format)
    assert "before.json" in text
    assert "after.json" in text
