"""Write a report into files without ever losing it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from serve_deploy.errors import DestinationError
from serve_deploy.files.atomic import write_atomically
from serve_deploy.rendering import format_of, render
from serve_deploy.reports.report import LoadTestReport, ReportSet


class UnsavedReport(DestinationError):
    """A report that is not in all files it was meant for; `kept` is where it is instead, if anywhere."""

    def __init__(self, message: str, *, hint: str | None, kept: Path | None) -> None:
        super().__init__(message, hint=hint)
        self.kept = kept


def check_destinations(paths: Sequence[Path]) -> None:
    """Find out before a long run what would go wrong after it: unknown formats, folders that cannot be written."""
    for path in paths:
        format_of(path)
        folder = path.parent
        if path.is_dir():
            raise DestinationError(f"`outputs={path}` is a folder", hint="name a file in it")
        if not folder.is_dir():
            raise DestinationError(f"`outputs={path}`: there is no folder {folder}", hint=f"make it: mkdir -p {folder}")
        if not os.access(folder, os.W_OK):
            raise DestinationError(f"`outputs={path}`: the folder {folder} cannot be written to")


def write_report(report: LoadTestReport | ReportSet, paths: Sequence[Path]) -> None:
    """Write the report into every file, atomically; what cannot be written is said after all others have been.

    Raises DestinationError where a file could not be written. The report is then kept as JSON in the system's
    temporary folder, if that has room, and the message says where.
    """
    failures = []
    for path in paths:
        try:
            write_atomically(path, render(report, format_of(path)))
        except OSError as error:
            failures.append(f"{path}: {error.strerror}")
    if failures:
        kept = keep_elsewhere(report)
        hint = f"the whole report was kept in {kept}" if kept else "free some space; the report is on stdout"
        raise UnsavedReport(f"the report could not be written to {'; '.join(failures)}", hint=hint, kept=kept)


def keep_elsewhere(report: LoadTestReport | ReportSet) -> Path | None:
    """Keep a report as JSON in the system's temporary folder and return where; None where that fails, too."""
    path = Path(tempfile.gettempdir()) / f"serve-loadtest-{uuid4().hex[:12]}.json"
    try:
        write_atomically(path, render(report, "json"))
    except OSError:
        return None
    return path
