"""Everything a person or a script sees: results on stdout, all else on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from serve_deploy.errors import ServeError
    from serve_deploy.progress import Progress


T = TypeVar("T")
_UNBOUNDED = 10_000
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


def stdout() -> Console:
    """The console for results."""
    from rich.console import Console

    # A pipe or a file has no edge to fold a table at.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNBOUNDED
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


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
        sys.stdout.write(json.dumps(to_jsonable(result), indent=2, ensure_ascii=False) + "\n")
    else:
        render(result)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table to stdout; cells are plain text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    stdout().print(table)


def print_error(error: ServeError) -> None:
    """Print an error, and its hint, to stderr."""
    from rich.text import Text

    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), in_flags(error.message)))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), in_flags(error.hint)))


@contextmanager
def progress() -> Iterator[Progress]:
    """Show what is being done, on a terminal only; the text is gone when the work is."""
    if not sys.stderr.isatty():
        yield lambda _message: None
        return
    from rich.text import Text

    with stderr().status("") as status:
        yield lambda message: status.update(Text(message))
