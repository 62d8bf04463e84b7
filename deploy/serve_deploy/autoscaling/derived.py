"""A number that was derived, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Derived:
    """One number, its unit, and a sentence on where it came from."""

    name: str
    value: float
    unit: str
    origin: str

    @property
    def text(self) -> str:
        """The number with its unit: four significant digits, thousands apart, no exponent."""
        number = f"{Decimal(f'{self.value:.4g}'):,f}"
        unit = self.unit.replace("requests ", "request ") if number == "1" else self.unit
        return f"{number} {unit}".strip()
