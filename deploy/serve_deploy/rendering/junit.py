"""A report as JUnit XML, which CI systems show as test results: a case a gate and load, a case a comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as xml

from serve_deploy.rendering.text import render_text
from serve_deploy.reports.figures import METRIC_NAMES, format_load
from serve_deploy.reports.report import LoadTestReport, NamedReport

# XML 1.0 has no way to write these, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(reports: Sequence[NamedReport]) -> str:
    """Write a suite a report; one without gates has a single case, which says whether it was completed."""
    built = [_build_suite(named) for named in reports]
    totals = {name: str(sum(int(suite.get(name, 0)) for suite in built)) for name in ("tests", "failures", "errors")}
    suites = xml.Element("testsuites", totals)
    suites.extend(built)
    xml.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml.tostring(suites, encoding="unicode")}\n'


def _build_suite(named: NamedReport) -> xml.Element:
    report = named.report
    cases = [*_gate_cases(report), *_change_cases(report), *_run_cases(report)]
    failures = sum(case.find("failure") is not None for case in cases)
    errors = sum(case.find("error") is not None for case in cases)
    seconds = sum(point.duration_seconds for point in report.points)
    suite = xml.Element(
        "testsuite",
        name=_clean(f"load test of {report.target.model}{f' ({named.name})' if named.name else ''}"),
        tests=str(len(cases)),
        failures=str(failures),
        errors=str(errors),
        time=f"{seconds:.3f}",
        timestamp=report.points[0].started_at if report.points else "",
    )
    suite.extend(cases)
    xml.SubElement(suite, "system-out").text = _clean(render_text([named]))
    return suite


def _gate_cases(report: LoadTestReport) -> Iterator[xml.Element]:
    for gate in report.gates:
        case = _case(report, f"{gate.expression} at {format_load(gate.load)}" if gate.load else gate.expression)
        if not gate.passed:
            _say(case, "failure", gate.explanation, "threshold missed" if gate.trusted else "client-bound")
        yield case


def _change_cases(report: LoadTestReport) -> Iterator[xml.Element]:
    if report.baseline is None:
        return
    let_pass = report.allow_partial and report.baseline.compared != "not"
    if not report.baseline.changes:
        case = _case(report, "comparison with the baseline")
        _say(case, "error", "no load was measured", "not compared")
        yield case
    for change in report.baseline.changes:
        case = _case(report, f"{METRIC_NAMES[change.metric]} at {format_load(change.load)} against the baseline")
        if change.verdict == "worse":
            _say(case, "failure", change.explanation, "regression")
        elif change.verdict == "not_compared" and not let_pass:
            _say(case, "error", change.explanation, "not compared")
        elif change.verdict in ("undecided", "not_compared"):
            xml.SubElement(case, "skipped", message=_clean(change.explanation))
        yield case


def _run_cases(report: LoadTestReport) -> Iterator[xml.Element]:
    case = _case(report, "the run is complete")
    if not report.complete and report.allow_partial:
        xml.SubElement(case, "skipped", message=_clean(report.interrupted_reason or "the run was interrupted"))
    elif not report.complete:
        _say(case, "error", report.interrupted_reason or "the run was interrupted", "partial")
    yield case


def _case(report: LoadTestReport, name: str) -> xml.Element:
    return xml.Element("testcase", classname=f"loadtest.{_clean(report.target.model)}", name=_clean(name))


def _say(case: xml.Element, outcome: str, message: str, kind: str) -> None:
    element = xml.SubElement(case, outcome, message=_clean(message), type=kind)
    element.text = _clean(message)


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
