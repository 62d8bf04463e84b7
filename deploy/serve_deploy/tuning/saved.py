"""A tuning result in files: checked before the long work begins, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.atomic import write_atomically
from serve_deploy.files.staging import destination_errors
from serve_deploy.tuning.result import TuningResult
from serve_deploy.tuning.tables import render_csv, render_table


def _as_json(result: TuningResult) -> str:
    return result.model_dump_json(indent=2) + "\n"


def _as_page(result: TuningResult) -> str:
    from serve_deploy.tuning.page import render_page

    return render_page(result)


_WRITERS: dict[str, Callable[[TuningResult], str]] = {
    ".json": _as_json,
    ".csv": render_csv,
    ".txt": render_table,
    ".html": _as_page,
}


def check_destinations(files: Sequence[Path]) -> None:
    """UsageError for a file of an unknown format, DestinationError where one cannot be written."""
    for path in files:
        if path.suffix.lower() not in _WRITERS:
            raise UsageError(
                f"`outputs={path}`: the format follows from the extension", hint=f"use {', '.join(_WRITERS)}"
            )
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise DestinationError(f"cannot write to {path}", hint="choose a folder that you may write to")


def write_results(result: TuningResult, files: Sequence[Path]) -> None:
    """Write the result to each file, in the format of its extension."""
    for path in files:
        with destination_errors(path):
            write_atomically(path, _WRITERS[path.suffix.lower()](result))
