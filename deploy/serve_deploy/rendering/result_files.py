"""A result in files, in the formats of their extensions: checked before the work begins, and written whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.atomic import write_atomically
from serve_deploy.files.staging import destination_errors

T = TypeVar("T")
Writers = Mapping[str, Callable[[T], str]]


def check_files(files: Sequence[Path], writers: Writers[T]) -> None:
    """UsageError for a file of an unknown format, DestinationError where one cannot be written."""
    for path in files:
        if path.suffix.lower() not in writers:
            raise UsageError(
                f"`outputs={path}`: the format follows from the extension", hint=f"use {', '.join(writers)}"
            )
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise DestinationError(f"cannot write to {path}", hint="choose a folder that you may write to")


def write_files(result: T, files: Sequence[Path], writers: Writers[T]) -> None:
    """Write the result to each file, in the format of its extension."""
    for path in files:
        with destination_errors(path):
            write_atomically(path, writers[path.suffix.lower()](result))
