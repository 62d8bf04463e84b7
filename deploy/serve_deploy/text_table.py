"""Tables of plain text that stay legible in a narrow terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence

_GAP = "  "
_LEAST_PROSE = 24
# What cells say that hold nothing.
_NOTHING = ("", "–", "-")
# A number and its unit stay on one line.
_UNIT = re.compile(r"(?<=\d) (?=(?:[µm]?s|%|MB|MiB|GiB)(?!\w))")


def drop_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]], names: Collection[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that hold nothing, nor those of these names."""
    used = [
        index
        for index, name in enumerate(columns)
        if name not in names and any(row[index] not in _NOTHING for row in rows)
    ]
    return [columns[index] for index in used], [[row[index] for index in used] for row in rows]


def align(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One line a row, each column as wide as its widest cell."""
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        _GAP.join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def stack(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """One block a row: its first cell, and below it a line for each other cell that holds anything.

    The cells of columns without a name stand beside the first.
    """
    room = max(map(len, columns[1:]), default=0)
    lines = []
    for row in rows:
        cells = [(name, cell) for name, cell in zip(columns[1:], row[1:], strict=True) if cell not in _NOTHING]
        lines.append(", ".join([row[0], *(cell for name, cell in cells if not name)]))
        lines += [hang(f"{_GAP}{name:<{room}}{_GAP}", cell, width) for name, cell in cells if name]
    return "\n".join(lines)


def hang(lead: str, text: str, width: int | None) -> str:
    """The text behind its lead, wrapped at words to the width, if any, with the further lines below the first."""
    if width is None:
        return f"{lead}{text}"
    wrapped = textwrap.fill(
        _UNIT.sub("\xa0", text), max(width, len(lead) + _LEAST_PROSE), initial_indent=lead,
        subsequent_indent=" " * len(lead), break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return wrapped.replace("\xa0", " ") or lead.rstrip()


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table if it is no wider than `width`, or with its last column wrapped; else one block a row."""
    table = align(columns, rows)
    if width is None or is_within(table, width):
        return table
    leads = align(columns[:-1], [row[:-1] for row in rows]).splitlines()
    room = max(map(len, leads)) + len(_GAP)
    if room + _LEAST_PROSE > width:
        return stack(columns, rows, width)
    ends = [columns[-1], *(row[-1] for row in rows)]
    return "\n".join(hang(f"{lead:<{room}}", end, width) for lead, end in zip(leads, ends, strict=True))


def is_within(text: str, width: int) -> bool:
    """Whether every line has room."""
    return all(len(line) <= width for line in text.splitlines())
