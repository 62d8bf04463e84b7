"""UBJSON as XGBoost writes it: walked without building what is not asked for.

Source: ubjson.org, type reference and optimized format; py-ubjson builds everything in memory.
"""

from __future__ import annotations

import struct
from typing import Any

from serve_deploy.frameworks.byte_cursor import ByteCursor

_NUMBERS = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}
_CONSTANTS: dict[str, Any] = {"Z": None, "T": True, "F": False}
_DEEPEST = 64
# Longer arrays of numbers are weights.
_FEW = 8


class Reader(ByteCursor):
    """Reads one value after another from bytes, or a map of them; a long array of numbers is skipped: None."""

    def read(self, depth: int = 0) -> Any:
        """The next value; ValueError or EOFError where it is none."""
        return self._value(self._byte(), depth)

    def _value(self, kind: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind in ("S", "H"):
            return self._text()
        if kind == "C":
            return self._byte()
        if kind in ("[", "{"):
            return self._container(kind, depth)
        return _CONSTANTS[kind]

    def _container(self, kind: str, depth: int) -> Any:
        item_kind, count = self._header()
        if item_kind in _NUMBERS and kind == "[":
            return self._numbers(item_kind, count or 0)
        found: dict[str, Any] = {}
        items: list[Any] = []
        end = b"]" if kind == "[" else b"}"
        while count is None or count > 0:
            if count is None and self.peek() == end:
                self.skip(1)
                break
            name = self._text() if kind == "{" else ""
            value = self._value(item_kind or self._byte(), depth + 1)
            if kind == "{":
                found[name] = value
            elif len(items) < _FEW or isinstance(value, str):
                items.append(value)
            count = None if count is None else count - 1
        return found if kind == "{" else items

    def _numbers(self, kind: str, count: int) -> list[float | int] | None:
        if count > _FEW:
            self.skip(count * struct.calcsize(_NUMBERS[kind]))
            return None
        return [self.number(_NUMBERS[kind]) for _ in range(count)]

    def _header(self) -> tuple[str, int | None]:
        """The type of all items ("" where each has its own) and how many there are (None where an end is marked)."""
        kind, count = "", None
        if self.peek() == b"$":
            self.skip(1)
            kind = self._byte()
            if self.peek() != b"#":
                raise ValueError("a type without a count")
        if self.peek() == b"#":
            self.skip(1)
            count = self._length()
        return kind, count

    def _length(self) -> int:
        kind = self._byte()
        if kind not in "iUIlL":
            raise ValueError("a length that is no integer")
        length = int(self.number(_NUMBERS[kind]))
        if not 0 <= length <= self.size:
            raise ValueError("a length beyond the end")
        return length

    def _text(self) -> str:
        return self.take(self._length()).decode("utf-8")

    def _byte(self) -> str:
        return self.take(1).decode("latin-1")
