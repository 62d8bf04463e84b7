"""`serve report`: render saved load-test reports, merge the parts of one run, or lay several side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import load_report, options
from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.loadtest.judging import Baseline
    from serve_deploy.loadtest.report import LoadTestReport, ReportSet


class PrintedFormat(StrEnum):
    """What stdout gets."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    CSV = "csv"
    JUNIT = "junit"
    HTML = "html"


def report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Saved reports (JSON).", show_default=False)],
    merge: Annotated[
        bool, typer.Option("--merge", help="The files are the parts of one distributed run: add them up.")
    ] = False,
    slo: load_report.Slo = None,
    baseline: load_report.BaselineFile = None,
    min_effect: load_report.MinimumEffect = 0.05,
    output: load_report.Output = None,
    printed: Annotated[PrintedFormat, typer.Option("--format", help="What to print.")] = PrintedFormat.TABLE,
    json: options.Json = False,
) -> None:
    """Render, merge, compare or judge saved load-test reports.

    \b
    serve report run.json -o run.html -o run.md
    serve report before.json after.json
    serve report --merge machine-1.json machine-2.json -o whole.json
    serve report run.json --slo 'p99<50ms' --baseline main.json
    serve report run.json --format markdown >> "$GITHUB_STEP_SUMMARY"
    """
    from serve_deploy.loadtest.saved_reports import check_destinations

    if json and printed is not PrintedFormat.TABLE:
        raise UsageError("--json and --format contradict each other", hint="leave one out")
    outputs = output or []
    check_destinations(outputs)
    result = _judge(_read(files, merge), slo or [], load_report.read_baseline(baseline, min_effect))
    load_report.conclude(result, outputs, "json" if json else printed.value)


def _read(files: list[Path], merge: bool) -> LoadTestReport | ReportSet:
    from serve_deploy.loadtest.merging import merge_reports
    from serve_deploy.loadtest.report import NamedReport, ReportSet
    from serve_deploy.loadtest.saved_reports import read_report

    reports = [read_report(path) for path in files]
    names = [str(path) for path in files]
    if len(reports) == 1:
        return reports[0]
    if merge:
        return merge_reports(reports, names)
    return ReportSet(
        reports=tuple(NamedReport(name=name, report=one) for name, one in zip(names, reports, strict=True))
    )


def _judge(result: LoadTestReport | ReportSet, slo: list[str], baseline: Baseline | None) -> LoadTestReport | ReportSet:
    from serve_deploy.loadtest.gates import parse_gate
    from serve_deploy.loadtest.judging import judge_report
    from serve_deploy.loadtest.report import LoadTestReport

    gates = [parse_gate(expression) for expression in slo]
    if isinstance(result, LoadTestReport):
        return judge_report(result, gates, baseline)
    judged = (
        named.model_copy(update={"report": judge_report(named.report, gates, baseline)}) for named in result.reports
    )
    return result.model_copy(update={"reports": tuple(judged)})
