"""How `loadtest` and `report` end: write the report, print it, exit by it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from serve_cli import output
from serve_cli.options import output_files
from serve_deploy.errors import DestinationError, ServeError

if TYPE_CHECKING:
    from serve_deploy.rendering import Format
    from serve_deploy.reports.report import LoadTestReport, ReportSet

Output = Annotated[list[Path] | None, output_files("report", ".json, .html, .md, .csv, .xml (JUnit) or .txt", "Report")]


def check_outputs(outputs: list[Path] | None) -> tuple[Path, ...]:
    """The files to write, once it is known that they can be, before anything long begins."""
    from serve_deploy.rendering.saved_reports import check_destinations

    output.name_flags({"outputs": "--output"})
    files = tuple(outputs or ())
    check_destinations(files)
    return files


def conclude(
    report: LoadTestReport | ReportSet,
    outputs: Sequence[Path],
    printed: Format,
    *,
    is_judged: bool = True,
    is_new: bool = True,
    failure: ServeError | None = None,
    afterwards: Callable[[], None] = lambda: None,
) -> None:
    """Write the files, print, do what comes after, and end with the code of what went wrong.

    `failure` weighs most, then a report that was not saved, a threshold missed, `afterwards`, stdout; each is told. A
    report that could not be kept in any file goes to stdout as JSON, whatever format was asked for.
    """
    from serve_deploy.rendering.saved_reports import write_report
    from serve_deploy.reports.judging import require_all_passed

    unsaved = _catch(lambda: write_report(report, outputs))
    lost = unsaved is not None and getattr(unsaved, "kept", None) is None
    is_kept = not is_new or (bool(outputs) and not lost)
    unprinted = _catch(lambda: _print(report, "json" if lost else printed, is_kept=is_kept))
    # That the run is partial, `failure` says already.
    judged = _as_complete(report) if failure else report
    missed = _catch(lambda: require_all_passed(judged)) if is_judged else None
    late = _catch(afterwards)
    _tell([problem for problem in (failure, unsaved, missed, late, unprinted) if problem is not None])


def _as_complete(result: LoadTestReport | ReportSet) -> LoadTestReport | ReportSet:
    if not hasattr(result, "reports"):
        return result.model_copy(update={"complete": True})
    parts = (named.model_copy(update={"report": _as_complete(named.report)}) for named in result.reports)
    return result.model_copy(update={"reports": tuple(parts)})


def _print(report: LoadTestReport | ReportSet, printed: Format, *, is_kept: bool) -> None:
    """Print the report; one that stdout does not take, and no file holds, is kept in the temporary folder."""
    from serve_deploy.rendering import render
    from serve_deploy.rendering.saved_reports import keep_elsewhere

    try:
        if printed == "table":
            sys.stdout.write(render(report, printed, width=output.table_width()))
        else:
            output.write_document(render(report, printed))
        sys.stdout.flush()
    except DestinationError as error:
        kept = None if is_kept else keep_elsewhere(report)
        raise DestinationError(error.message, hint=f"the whole report was kept in {kept}" if kept else None) from error


def _catch(action: Callable[[], None]) -> ServeError | None:
    try:
        action()
    except ServeError as error:
        return error
    return None


def _tell(problems: Sequence[ServeError]) -> None:
    for problem in problems[1:]:
        output.print_error(problem)
    if problems:
        raise problems[0]
