"""`serve report`: render saved load-test reports, merge the parts of one run, or show several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_cli import load_report
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.errors import UsageError
from serve_deploy.reports.options import JudgingOptions

# As in serve_deploy.rendering, which is slow to import.
PrintedFormat = Literal["table", "json", "markdown", "csv", "junit", "html"]
Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Saved reports (JSON).", show_default=False)]
Merge = Annotated[
    bool,
    typer.Option("--merge", help="The files are parts of one distributed run: add them up.", rich_help_panel="Report"),
]
Printed = Annotated[PrintedFormat, typer.Option("--format", help="What to print.", rich_help_panel="Report")]


@takes_options()
def report(
    judging: JudgingOptions,
    files: Files,
    merge: Merge = False,
    outputs: load_report.Output = None,
    printed: Printed = "table",
    json: Json = False,
) -> None:
    """Render, merge, compare or judge saved load-test reports.

    \b
    serve report run.json -o run.html -o run.md
    serve report before.json after.json
    serve report --merge machine-1.json machine-2.json -o whole.json
    serve report run.json --slo 'p99<50ms' --baseline main.json
    serve report run.json --format markdown >> "$GITHUB_STEP_SUMMARY"
    """
    from serve_deploy.reports.judging import judge
    from serve_deploy.reports.saved_reports import read_reports

    if json and printed != "table":
        raise UsageError("--json and --format exclude each other", hint="leave one of them out")
    written = load_report.check_outputs(outputs)
    judged = judge(read_reports(files, merge=merge), judging)
    is_judged = bool(judging.slo or judging.baseline)
    load_report.conclude(judged, written, "json" if json else printed, is_judged=is_judged, is_new=False)
