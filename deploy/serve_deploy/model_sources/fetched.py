"""What was fetched of a model that is not on this disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import ServeError
from serve_deploy.origin import Origin


@dataclass(frozen=True)
class Fetched:
    """The model's file or folder here, and what its source tells of it beside the file.

    `samples` are requests that came with it, and `signature` its tensors as `signature` of packaging takes them, where
    the file itself does not tell them.
    """

    path: Path
    origin: Origin
    samples: Path | None = None
    signature: str | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def called(name: object, path: Path) -> Iterator[None]:
    """Name a source in an error that would name its file here, which is of no use to anybody."""
    try:
        yield
    except ServeError as error:
        error.message = error.message.replace(str(path), str(name))
        error.args = (error.message,)
        raise


def write_size(size: int) -> str:
    """Such as "12.3 MB"; decimal, as hubs write sizes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
