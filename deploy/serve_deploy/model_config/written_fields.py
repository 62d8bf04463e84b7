"""Where the fields of a config.pbtxt stand in its text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<space>(?:\s|#[^\n]*)+)|(?P<text>(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'))"
    r"|(?P<mark>[{}<>\[\]:,;])|(?P<word>[^\s{}<>\[\]:,;#\"']+)"
)


class OtherFormError(Exception):
    """The text has a form that is not edited."""


@dataclass(frozen=True)
class WrittenValue:
    """A value of a field; of a message its fields, and where its closing bracket stands."""

    start: int
    end: int
    fields: tuple[WrittenField, ...] = ()
    close: int = 0


@dataclass(frozen=True)
class WrittenField:
    """A field with its values, of which a list has several."""

    name: str
    start: int
    end: int
    values: tuple[WrittenValue, ...]


def read_fields(text: str) -> tuple[WrittenField, ...]:
    """The fields of a whole configuration; OtherFormError where they cannot be told apart."""
    return _Reader(text).read()


class _Reader:
    """Reads fields with the places where they stand."""

    def __init__(self, text: str) -> None:
        found = _TOKEN.finditer(text)
        self._tokens = [token for token in found if token.lastgroup != "space"]
        self._position = 0

    def read(self) -> tuple[WrittenField, ...]:
        fields = tuple(self._fields(""))
        if self._position < len(self._tokens):
            raise OtherFormError
        return fields

    def _peek(self) -> str:
        return self._tokens[self._position][0] if self._position < len(self._tokens) else ""

    def _take(self, *expected: str) -> re.Match[str]:
        if self._position >= len(self._tokens) or (expected and self._peek() not in expected):
            raise OtherFormError
        self._position += 1
        return self._tokens[self._position - 1]

    def _fields(self, close: str) -> Iterator[WrittenField]:
        while self._peek() not in ("", close):
            name = self._take()
            if name.lastgroup != "word":
                raise OtherFormError
            if self._peek() == ":":
                self._take()
            values = tuple(self._values())
            yield WrittenField(name[0], name.start(), self._tokens[self._position - 1].end(), values)
            if self._peek() in (",", ";"):
                self._take()

    def _values(self) -> Iterator[WrittenValue]:
        if self._peek() != "[":
            yield self._value()
            return
        self._take()
        while self._peek() != "]":
            yield self._value()
            if self._peek() != "]":
                self._take(",")
        self._take()

    def _value(self) -> WrittenValue:
        first = self._take()
        if first[0] in "{<":
            fields = tuple(self._fields("}" if first[0] == "{" else ">"))
            last = self._take("}", ">")
            return WrittenValue(first.start(), last.end(), fields, last.start())
        if first.lastgroup == "mark":
            raise OtherFormError
        # Strings beside each other are one.
        while first.lastgroup == "text" and self._position < len(self._tokens):
            if self._tokens[self._position].lastgroup != "text":
                break
            self._take()
        return WrittenValue(first.start(), self._tokens[self._position - 1].end())
