"""Read saved load-test reports: one, several side by side, or the parts of one distributed run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from serve_deploy.errors import UsageError
from serve_deploy.refused_values import say_plainly
from serve_deploy.reports.document import Document
from serve_deploy.reports.figures import format_list
from serve_deploy.reports.merging import merge_reports
from serve_deploy.reports.report import FORMAT_VERSION, LoadTestReport, NamedReport, ReportSet

D = TypeVar("D", bound=Document)


def read_report(path: Path) -> LoadTestReport:
    """Read a report that `serve loadtest --output report.json` or `--json` wrote; UsageError if it is not one."""
    hint = "make one with: serve loadtest URL -m MODEL --output report.json"
    if together := _read_set(path):
        names = format_list([each.name for each in together])
        raise UsageError(f"{path} holds reports of {names}, and one of a single model is wanted", hint=hint)
    report = read_document(path, LoadTestReport, "load-test report", hint)
    if report.format_version > FORMAT_VERSION:
        raise UsageError(f"{path} was written by a newer serve ({report.tool_version})", hint="update serve")
    return report


def read_document(path: Path, kind: type[D], name: str, hint: str) -> D:
    """Read a document of a kind from its JSON; UsageError, with the hint, where the file is something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"cannot read the {name.removeprefix('load-test ')} {path}: {reason}", hint=hint) from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path} is not a {name}: {f'{where}: ' if where else ''}{say_plainly(first['msg'])}", hint=hint
        ) from error


def read_reports(files: Sequence[Path], *, merge: bool = False) -> LoadTestReport | ReportSet:
    """Read one report, several side by side, or with `merge` the parts of one run, added up."""
    if merge and len({path.resolve() for path in files}) < len(files):
        raise UsageError("one file is given twice, and its requests would count twice", hint="name each part once")
    read = [named for path in files for named in _read_named(path)]
    reports, names = [named.report for named in read], [named.name for named in read]
    if len(reports) == 1:
        return reports[0]
    if merge:
        return merge_reports(reports, names)
    return ReportSet(reports=tuple(read))


def _read_named(path: Path) -> tuple[NamedReport, ...]:
    """The report of a file by the file's name, or those of several models by the models' names."""
    return _read_set(path) or (NamedReport(name=str(path), report=read_report(path)),)


def _read_set(path: Path) -> tuple[NamedReport, ...]:
    """The reports of several models that were measured at once; none where the file is something else."""
    try:
        return ReportSet.model_validate_json(path.read_bytes()).reports
    except (OSError, ValidationError):
        return ()
