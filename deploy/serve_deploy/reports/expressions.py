"""Read what a user asks of a figure: a name, a comparison, a number and a unit, such as `p99<50ms`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Quantity = Literal["time", "share", "rate"]

UNITS: dict[Quantity, dict[str, float]] = {
    "time": {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6},
    "share": {"%": 0.01},
    "rate": {"": 1.0, "/s": 1.0},
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_EXPRESSION = re.compile(
    r"\s*(?P<name>[a-z][a-z0-9_.]*)\s*(?P<comparison><=|>=|<|>)\s*"
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zµ%/]*)\s*"
)


@dataclass(frozen=True)
class Expression:
    """The parts of an expression; `number` may be infinite where too many digits were given."""

    name: str
    comparison: str
    number: float
    unit: str

    @property
    def is_finite(self) -> bool:
        """Whether the number can be compared with."""
        return math.isfinite(self.number)


def read_expression(text: str) -> Expression | None:
    """The parts of an expression; None where it is none."""
    found = _EXPRESSION.fullmatch(text)
    return found and Expression(found["name"], found["comparison"], float(found["number"]), found["unit"])


def complain_of_unit(expression: Expression, units: list[str]) -> str:
    """What is wrong with a unit that is none of those allowed."""
    said = f"not '{expression.unit}'" if expression.unit else "and none was given"
    return f"the unit of {expression.name} is {' or '.join(name or 'none' for name in units)}, {said}"
