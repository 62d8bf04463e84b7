"""Numbers that a graph computes from shapes: constants, and multiples of the number of rows in the batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Number = Any  # an int, float or bool, or a Size


class UndecidedError(Exception):
    """The answer depends on the size of the batch, or on a dimension that is free."""


@dataclass(frozen=True, slots=True)
class Size:
    """`constant + per_row · N` for a batch of N rows; `assumed` where a free dimension stands in it for all its sizes.

    Plain numbers are plain numbers: arithmetic returns a Size only where N or an assumption is in it.
    """

    constant: Any
    per_row: Any = 0
    assumed: bool = False

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Size):
            return bool(self.constant == other.constant and self.per_row == other.per_row)
        return not self.per_row and bool(self.constant == other)

    def __hash__(self) -> int:
        return hash((self.constant, self.per_row)) if self.per_row else hash(self.constant)

    def __str__(self) -> str:
        if self.assumed or not self.per_row:
            return ("N·?" if self.per_row else "?") if self.assumed else str(self.constant)
        rows = "N" if self.per_row == 1 else f"{self.per_row}·N"
        if not self.constant:
            return rows
        return f"{rows} {'-' if self.constant < 0 else '+'} {abs(self.constant)}"

    def __add__(self, other: Number) -> Number:
        right = _sized(other)
        return _plain(self.constant + right.constant, self.per_row + right.per_row, self.assumed or right.assumed)

    def __neg__(self) -> Number:
        return _plain(-self.constant, -self.per_row, self.assumed)

    def __sub__(self, other: Number) -> Number:
        return self + (-other)

    def __rsub__(self, other: Number) -> Number:
        return -self + other

    def __mul__(self, other: Number) -> Number:
        right = _sized(other)
        if self.per_row and right.per_row:
            raise UndecidedError
        per_row = self.per_row * right.constant + self.constant * right.per_row
        return _plain(self.constant * right.constant, per_row, self.assumed or right.assumed)

    __radd__ = __add__
    __rmul__ = __mul__


ROWS = Size(0, 1)
UNKNOWN = Size(math.nan, 0, assumed=True)  # equal to nothing once it has been computed with


def counts_rows(number: Number) -> bool:
    """Whether a number depends on how many rows the batch has."""
    return isinstance(number, Size) and bool(number.per_row)


def product(numbers: Iterable[Number]) -> Number:
    """The product of sizes; raises UndecidedError where N would be in it twice."""
    result: Number = 1
    for number in numbers:
        result = result * number
    return result


def divide(left: Number, right: Number) -> Number:
    """ONNX's Div: truncating between whole numbers, exact in what depends on N."""
    a, b = _sized(left), _sized(right)
    assumed = a.assumed or b.assumed
    if b.per_row:
        if a.constant * b.per_row != a.per_row * b.constant or not a.per_row:
            raise UndecidedError
        return _plain(_quotient(a.per_row, b.per_row, exact=True), 0, assumed)
    if not b.constant:
        raise UndecidedError
    per_row = _quotient(a.per_row, b.constant, exact=True)
    # What is left of the constant is cut off in every batch alike where the whole is positive.
    is_positive = a.per_row >= 0 and a.constant >= 0 and b.constant > 0
    return _plain(_quotient(a.constant, b.constant, exact=bool(a.per_row) and not is_positive), per_row, assumed)


def modulo(left: Number, right: Number) -> Number:
    """Python's remainder, where it does not depend on N."""
    a, b = _sized(left), _sized(right)
    if b.per_row or not b.constant or (a.per_row and a.per_row % b.constant):
        raise UndecidedError
    return _plain(a.constant % b.constant, 0, a.assumed or b.assumed)


def is_less(left: Number, right: Number) -> bool:
    """Whether left < right in every batch; raises UndecidedError where that depends on the batch or a free dim."""
    least, most = _range(left, right)
    if most is not None and most < 0:
        return True
    if least is not None and least >= 0:
        return False
    raise UndecidedError


def is_equal(left: Number, right: Number) -> bool:
    """Whether both are the same number in every batch; raises UndecidedError where that depends."""
    if left == right and left is not UNKNOWN:
        return True
    least, most = _range(left, right)
    if (most is not None and most < 0) or (least is not None and least > 0):
        return False
    raise UndecidedError


def _range(left: Number, right: Number) -> tuple[Any, Any]:
    """The least and the largest value of left - right over all batches; None where there is no bound."""
    difference = _sized(left - right)
    start, slope = difference.constant + difference.per_row, difference.per_row
    if difference.assumed and not _is_sign_sure(_sized(left), _sized(right)):
        raise UndecidedError
    return (start if slope >= 0 else None), (start if slope <= 0 else None)


def _is_sign_sure(a: Size, b: Size) -> bool:
    """Free dims are positive: so is what was made of them, compared with what is not."""
    for one, other in ((a, b), (b, a)):
        positive = one.constant >= 0 and one.per_row >= 0 and one.constant + one.per_row > 0
        if one.assumed and positive and not other.assumed and other.constant <= 0 and other.per_row <= 0:
            return True
    return False


def _sized(number: Number) -> Size:
    return number if isinstance(number, Size) else Size(number)


def _plain(constant: Any, per_row: Any, assumed: bool) -> Number:
    return Size(constant, per_row, assumed) if per_row or assumed else constant


def _quotient(a: Any, b: Any, *, exact: bool) -> Any:
    if math.isnan(a):
        return a
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    if exact and a % b:
        raise UndecidedError
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
