"""`serve report`: render saved load-test reports, merge the parts of one run, or lay several side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import load_report, options
from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.reports.report import LoadTestReport, ReportSet


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
    if json and printed is not PrintedFormat.TABLE:
        raise UsageError("--json and --format contradict each other", hint="leave one out")
    ending = load_report.prepare_ending(
        slo=slo,
        baseline=baseline,
        min_effect=min_effect,
        outputs=output,
        printed="json" if json else printed.value,
    )
    ending.conclude(_read(files, merge))


def _read(files: list[Path], merge: bool) -> LoadTestReport | ReportSet:
    from serve_deploy.rendering.saved_reports import read_report
    from serve_deploy.reports.merging import merge_reports
    from serve_deploy.reports.report import NamedReport, ReportSet

    if merge and len({path.resolve() for path in files}) < len(files):
        raise UsageError(
            "--merge got the same file twice, and would count its requests twice", hint="name each part once"
        )
    reports = [read_report(path) for path in files]
    names = [str(path) for path in files]
    if len(reports) == 1:
        return reports[0]
    if merge:
        return merge_reports(reports, names)
    return ReportSet(
        reports=tuple(NamedReport(name=name, report=one) for name, one in zip(names, reports, strict=True))
    )
