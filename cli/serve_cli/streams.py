"""stdout and stderr that lose no result to a letter, a closed pipe or a full disk."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, ClassVar

from serve_deploy.errors import DestinationError, ServeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

# How a terminal that knows only ASCII is told what our own words contain.
_SPELLED = str.maketrans({
    "µ": "u", "–": "-", "−": "-", "─": "-", "…": "...", "±": "+/-", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "·": ".",
})  # fmt: skip
_ERRORS = "serve-spell"


class ReaderGone(ServeError):
    """Whoever read stdout (`head`, `less`) has closed it; the code is that of a program which SIGPIPE ends."""

    exit_code: ClassVar[int] = 141


def open_streams() -> None:
    """Put our own stdout and stderr in place; one that was closed from the start takes everything and keeps nothing."""
    codecs.register_error(_ERRORS, _spell)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one; else the next file or socket would become our stdout.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _open(_Stdout(io.FileIO(1, "w", closefd=False)), sys.stdout, line_buffering=os.isatty(1))
    sys.stderr = _open(_Stderr(io.FileIO(2, "w", closefd=False)), sys.stderr, line_buffering=True)


def flush_stdout() -> ServeError | None:
    """Write out what is still held back; returns what went wrong."""
    try:
        sys.stdout.flush()
    except ServeError as error:
        return error
    return None


def _open(buffer: io.BufferedWriter, replaced: object, *, line_buffering: bool) -> io.TextIOWrapper:
    encoding = getattr(replaced, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors=_ERRORS,
        line_buffering=line_buffering,
        write_through=getattr(replaced, "write_through", False),
    )


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SPELLED)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


class _Checked(io.BufferedWriter):
    """Failures are caught here: Ctrl-C within a `write` of FileIO would have the same bytes written once more."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self._fail(error)
            return memoryview(data).nbytes

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, _error: OSError) -> None:
        # What is still buffered must not fail once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


class _Stdout(_Checked):
    def _fail(self, error: OSError) -> None:
        super()._fail(error)
        if isinstance(error, BrokenPipeError):
            raise ReaderGone("stdout was closed") from error
        raise DestinationError(
            f"the result cannot be written to stdout: {error.strerror}", hint="write to another file or disk"
        ) from error


class _Stderr(_Checked):
    """There is nobody left to tell."""
