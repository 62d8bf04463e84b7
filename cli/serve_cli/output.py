"""Everything a person or a script sees: results on stdout, all else on stderr."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from serve_cli.streams import ReaderGone
from serve_deploy.text_table import stack

if TYPE_CHECKING:
    from rich.console import Console

    from serve_deploy.errors import ServeError
    from serve_deploy.progress import Progress


T = TypeVar("T")
_UNBOUNDED = 10_000
_TABLE_GAP, _LEAST_FOLDED = "   ", 24
# A field of an options object, as the library's messages name it: `release`, `release=25.08` or `verify=False`.
_FIELD = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_flags: dict[str, str] = {}


def name_flags(flags: Mapping[str, str]) -> None:
    """From now on, say these flags where a message names the fields that they set."""
    _flags.update(flags)


def in_flags(text: str, flags: Mapping[str, str] | None = None) -> str:
    """The text with the command line's flags in place of field names; a field without a flag stays, unmarked."""
    known = _flags if flags is None else flags

    def replace(found: re.Match[str]) -> str:
        field, value = found.groups()
        if field not in known:
            return found[0].strip("`")
        return known[field] if value in (None, "True", "False") else f"{known[field]} {value}"

    return _FIELD.sub(replace, text)


def count(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def write_bytes(size: int) -> str:
    """A size in GB from 1 GB on, in MB from 1 MB on, in KB from 1 KB on, else in bytes."""
    if 0 < size < 2**10:
        return count(size, "byte")
    if size >= 2**30:
        return f"{size / 2**30:,.2f} GB"
    return f"{size / 2**20:,.0f} MB" if size >= 2**20 else f"{size / 2**10:,.0f} KB"


def stdout() -> Console:
    """The console for results."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=None if _has_edge() else _UNBOUNDED)


def table_width() -> int | None:
    """How wide a table on stdout may be: COLUMNS, or the terminal's width; None in a pipe or a file without COLUMNS."""
    return stdout().width if _has_edge() else None


def _has_edge() -> bool:
    return sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()


def stderr() -> Console:
    """The console for progress, hints and errors."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def to_jsonable(value: Any) -> Any:
    """Turn a result object into what `json` writes: dataclasses and pydantic models, enums, paths, numpy."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    return value


def emit(result: T, *, as_json: bool, render: Callable[[T], None]) -> None:
    """Print the one result object of an operation: for a program, or for a person by `render`."""
    if as_json:
        write_document(json.dumps(to_jsonable(result), indent=2, ensure_ascii=False) + "\n")
    else:
        render(result)


def write_document(text: str) -> None:
    """Write what programs read: always UTF-8, whatever the terminal's encoding is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What UTF-8 has no code for (a name that is not text) becomes \\udc80, which JSON reads.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table to stdout; cells are plain text, never markup. Where it has no room, each row is a block."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console, cells = stdout(), [[str(cell) for cell in row] for row in rows]
    if not _has_room(columns, cells, console.width):
        lines = [title] if title else []
        console.print("\n".join([*lines, stack(columns, cells, console.width)]), markup=False)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _has_room(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a table folds at most its last column, and that to no less than a short line."""
    from rich.cells import cell_len

    *widths, last = (max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True))
    return sum(widths) + len(_TABLE_GAP) * len(widths) + min(last, _LEAST_FOLDED) <= width


def print_error(error: ServeError) -> None:
    """Print an error, and its hint, to stderr; that nobody reads stdout any more is no error to tell."""
    if isinstance(error, ReaderGone):
        return
    from rich.text import Text

    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), in_flags(error.message)))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), in_flags(error.hint)))


@contextmanager
def progress(*, tells_waits: bool = False) -> Iterator[Progress]:
    """Show what is being done, on a terminal only; the text is gone when the work is.

    With `tells_waits`, a line says without a terminal, too, what is waited for, whenever that changes.
    """
    if not sys.stderr.isatty():
        yield _tell_waits() if tells_waits else lambda _message: None
        return
    from rich.text import Text

    console = stderr()
    status = console.status("", spinner="dots" if console.encoding.startswith("utf") else "line")

    def show(message: str) -> None:
        status.update(Text(message))
        status.start()  # not before there is something to say: a passphrase may be asked for first

    try:
        yield show
    finally:
        status.stop()


def passphrase_prompt() -> Callable[[object], str] | None:
    """What asks on the terminal for the passphrase of a key; None where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from getpass import getpass

    return lambda key: getpass(f"passphrase of {key}: ")


def _tell_waits() -> Progress:
    told = ""

    def tell(message: str) -> None:
        nonlocal told
        if message.startswith("waiting for ") and message != told:
            told = message
            stderr().print(message, markup=False)

    return tell
