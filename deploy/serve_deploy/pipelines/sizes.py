"""Sizes that must be equal: each is free, or fixed by one end of a wire. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fixed:
    """A size, and who fixes it."""

    size: int
    by: str


class EqualSizes:
    """Groups of sizes that must be equal (a union of sets), each with what fixes it."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}
        self._fixed: dict[Hashable, Fixed] = {}

    def add(self, key: Hashable, size: int, by: str) -> None:
        """A size of a tensor; -1 is free."""
        self._parents.setdefault(key, key)
        if size != -1:
            self._fixed[key] = Fixed(size, by)

    def join(self, one: Hashable, other: Hashable) -> tuple[Fixed, Fixed] | None:
        """Make two sizes equal; what fixes them where they cannot be, which changes nothing."""
        first, second = self._root(one), self._root(other)
        fixed = [self._fixed[root] for root in (first, second) if root in self._fixed]
        if len(fixed) == 2 and fixed[0].size != fixed[1].size:
            return fixed[0], fixed[1]
        if first != second:
            self._parents[second] = first
            if fixed:
                self._fixed[first] = fixed[0]
        return None

    def find(self, key: Hashable) -> Fixed | None:
        """What fixes a size; None where it is free."""
        return self._fixed.get(self._root(key))

    def _root(self, key: Hashable) -> Hashable:
        self._parents.setdefault(key, key)
        while self._parents[key] != key:
            key = self._parents[key]
        return key
