"""A number that was derived, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Derived:
    """One number, its unit, and a sentence on where it came from."""

    name: str
    value: float
    unit: str
    origin: str
