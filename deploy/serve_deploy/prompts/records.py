"""A file of prompts, cut into its records: JSON values, or lines of plain text. Memory stays bounded."""

from __future__ import annotations

import codecs
import heapq
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from serve_deploy.errors import UsageError

MOST_RECORDS = 10_000
MOST_CHARACTERS = 1 << 26  # of the records that are kept
LONGEST_RECORD = 1 << 26  # bytes
Layout = Literal["list", "document", "lines", "text"]
_PEEK = 1 << 16
_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()
_HINT = "give JSON lines, a JSON list or plain lines, in UTF-8"


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value, or a line of plain text; `line` is where it starts in the file, from 1 on."""

    line: int
    text: str
    is_json: bool = True


@dataclass(frozen=True)
class Records:
    """Those that are kept of a file, in its order, and how many it has."""

    kept: tuple[Record, ...]
    total: int


def locate(path: Path, field: str, line: int) -> str:
    """Where in the file that an option names something is wrong, as messages begin."""
    return f"`{field}={path}`, line {line}:"


def read_value(path: Path, field: str, record: Record) -> Any:
    """What a record holds; UsageError names the line and the column where it is not JSON."""
    if not record.is_json:
        return record.text
    try:
        return json.loads(record.text)
    except json.JSONDecodeError as error:
        place = locate(path, field, record.line + error.lineno - 1)
        raise UsageError(f"{place} not JSON: {error.msg}, column {error.colno}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{locate(path, field, record.line)} not JSON: {error}", hint=_HINT) from error


def sample_records(path: Path, seed: int) -> Records:
    """All records, or a random sample where there are more than 10,000, or than 64 MiB of text.

    Every record has the same chance, and the same seed chooses the same ones.
    """
    generator = random.Random(seed)  # noqa: S311 - chooses prompts, keeps no secret
    kept: list[tuple[float, int, Record]] = []
    total = size = 0
    for total, record in enumerate(read_records(path, "prompts"), start=1):
        size += len(record.text)
        heapq.heappush(kept, (generator.random(), total, record))
        while len(kept) > MOST_RECORDS or (size > MOST_CHARACTERS and len(kept) > 1):
            size -= len(heapq.heappop(kept)[2].text)
    return Records(tuple(record for _, _, record in sorted(kept, key=lambda item: item[1])), total)


def read_records(path: Path, field: str) -> Iterator[Record]:
    """Each item of a JSON list, each line of JSON lines or plain text, or a JSON document as a whole.

    UsageError says of the option `field` what the file is instead, and in which line.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_PEEK).removeprefix(codecs.BOM_UTF8)
            file.seek(0)
            if not start.strip() or b"\0" in start:
                raise UsageError(f"`{field}={path}` is {'no text file' if start.strip() else 'empty'}", hint=_HINT)
            layout = _find_layout(path.suffix, start.lstrip())
            if layout == "list":
                yield from _ListReader(path, field, file).items()
            else:
                yield from _read_lines(path, field, file, layout)
    except OSError as error:
        raise UsageError(f"`{field}={path}` cannot be read: {error.strerror}") from error


def _find_layout(suffix: str, start: bytes) -> Layout:
    """From the content; the name decides where a line of text could be taken for JSON."""
    line, ended, rest = start.partition(b"\n")
    if suffix in (".txt", ".jsonl", ".ndjson"):
        return "text" if suffix == ".txt" else "lines"
    if start[:1] == b"[":
        return "lines" if rest.strip() and _is_json(line) else "list"
    if start[:1] == b"{":
        return "document" if ended and not _is_json(line) else "lines"
    return "lines" if suffix == ".json" or (start[:1] == b'"' and _is_json(line)) else "text"


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_lines(path: Path, field: str, file: IO[bytes], layout: Layout) -> Iterator[Record]:
    read = file.read if layout == "document" else file.readline
    number = 0
    while content := read(LONGEST_RECORD + 1):
        number += 1
        if len(content) > LONGEST_RECORD:
            raise UsageError(f"{locate(path, field, number)} more than {LONGEST_RECORD >> 20} MiB", hint=_HINT)
        try:
            text = content.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            number += content.count(b"\n", 0, error.start)
            raise UsageError(f"{locate(path, field, number)} not valid UTF-8", hint=_HINT) from error
        if text:
            yield Record(number, text, layout != "text")


class _ListReader:
    """A JSON list, item by item, holding little more than the largest item."""

    def __init__(self, path: Path, field: str, file: IO[bytes]) -> None:
        self._path, self._field, self._file = path, field, file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._line = "", 0, 1

    def items(self) -> Iterator[Record]:
        self._next()
        self._move(self._at + 1)
        while self._next() != "]":
            end = self._find_end()
            yield Record(self._line, self._text[self._at : end])
            self._move(end)
        self._move(self._at + 1)
        if self._next():
            raise self._error("there is something after the list")

    def _find_end(self) -> int:
        """Where the next item ends; reads on until it is there."""
        while True:
            try:
                return _DECODER.raw_decode(self._text, self._at)[1]
            except RecursionError as error:
                raise self._error("nested too deeply") from error
            except json.JSONDecodeError as error:
                length = error.pos - self._at
                if len(self._text) - self._at <= LONGEST_RECORD and self._read_more():
                    continue
                self._move(self._at + length)
                ends = self._at == len(self._text) or "Unterminated" in error.msg
                raise self._error("the file ends inside the list" if ends else f"not JSON: {error.msg}") from error

    def _next(self) -> str:
        """The next character that is no space or comma; empty at the end of the file."""
        while True:
            self._move(_BETWEEN.match(self._text, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _read_more(self) -> bool:
        content = self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :], 0
        try:
            self._text += self._decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            self._line += self._text.count("\n") + content.count(b"\n", 0, error.start)
            raise self._error("not valid UTF-8") from error
        return bool(content)

    def _error(self, what: str) -> UsageError:
        return UsageError(f"{locate(self._path, self._field, self._line)} {what}", hint=_HINT)
