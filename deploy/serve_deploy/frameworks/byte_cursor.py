"""A place in bytes, from which they are read one after another. Pure."""

from __future__ import annotations

import struct
from typing import Any


class ByteCursor:
    """Reads on from a place in bytes, or in a map of them; EOFError where they end too early."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether all was read."""
        return self._at == len(self._content)

    @property
    def size(self) -> int:
        """All the bytes that there are."""
        return len(self._content)

    def peek(self) -> bytes:
        """The next byte, which stays the next one; none at the end."""
        return bytes(self._content[self._at : self._at + 1])

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken = bytes(self._content[self._at : self._at + count])
        if len(taken) < count:
            raise EOFError
        self._at += count
        return taken

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        self._at += count
        if self._at > len(self._content):
            raise EOFError

    def number(self, layout: str) -> Any:
        """The next number, in one of `struct`'s layouts."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
