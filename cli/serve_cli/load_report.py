"""Options and endings that `loadtest` and `report` share: judge a report, write it, print it, exit by it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_deploy.errors import ServeError

if TYPE_CHECKING:
    from serve_deploy.loadtest.judging import Baseline
    from serve_deploy.loadtest.rendering import Format
    from serve_deploy.loadtest.report import LoadTestReport, ReportSet

Slo = Annotated[
    list[str] | None,
    typer.Option(
        "--slo",
        metavar="GATE",
        help="A gate such as 'p99<50ms', 'errors<0.1%' or 'throughput>200'; missed: exit code 7. May be repeated.",
        show_default=False,
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="A saved report; slower than it: exit code 7.", show_default=False),
]
MinimumEffect = Annotated[
    float, typer.Option("--min-effect", help="Relative change against the baseline that is let pass.", min=0)
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the report; .json, .html, .md, .csv, .xml (JUnit) or .txt says the format. May be repeated.",
        show_default=False,
    ),
]


def read_baseline(path: Path | None, minimum_effect: float) -> Baseline | None:
    """Read the report of --baseline before anything long is begun."""
    if path is None:
        return None
    from serve_deploy.loadtest.judging import Baseline
    from serve_deploy.loadtest.saved_reports import read_report

    return Baseline(str(path), read_report(path), minimum_effect)


def conclude(
    result: LoadTestReport | ReportSet,
    outputs: Sequence[Path],
    output_format: Format,
    failure: ServeError | None = None,
) -> None:
    """Write the files, print the result, then raise what went wrong: `failure` first, a lost file, a missed gate.

    A report that could not be kept in any file goes to stdout as JSON, whatever format was asked for.
    """
    from serve_deploy.loadtest.rendering import render
    from serve_deploy.loadtest.saved_reports import UnsavedReport, write_report

    unsaved: UnsavedReport | None = None
    try:
        write_report(result, outputs)
    except UnsavedReport as error:
        unsaved = error
    lost = unsaved is not None and unsaved.kept is None
    sys.stdout.write(render(result, "json" if lost else output_format))
    for problem in (failure, unsaved):
        if problem is not None:
            raise problem
    require_all_passed(result)


def require_all_passed(result: LoadTestReport | ReportSet) -> None:
    """Raise ThresholdError for the gates and baselines that were missed."""
    from serve_deploy.loadtest.judging import require_passed
    from serve_deploy.loadtest.report import LoadTestReport

    for report in (result,) if isinstance(result, LoadTestReport) else (named.report for named in result.reports):
        require_passed(report)
