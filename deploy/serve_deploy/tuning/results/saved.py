"""A tuning result in files: checked before the long work begins, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serve_deploy.rendering.result_files import Writers, check_files, write_files
from serve_deploy.tuning.results.result import TuningResult
from serve_deploy.tuning.results.tables import render_csv, render_table


def _as_json(result: TuningResult) -> str:
    return result.model_dump_json(indent=2) + "\n"


def _as_page(result: TuningResult) -> str:
    from serve_deploy.tuning.results.page import render_page

    return render_page(result)


_WRITERS: Writers[TuningResult] = {
    ".json": _as_json,
    ".csv": render_csv,
    ".txt": render_table,
    ".html": _as_page,
}


def check_destinations(files: Sequence[Path]) -> None:
    """UsageError for a file of an unknown format, DestinationError where one cannot be written."""
    check_files(files, _WRITERS)


def write_results(result: TuningResult, files: Sequence[Path]) -> None:
    """Write the result to each file, in the format of its extension."""
    write_files(result, files, _WRITERS)
