"""Compute what small tensors hold where a graph computes shapes: ONNX's operators on numbers and Sizes, by numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_deploy.batch_axis.sizes import Size, UndecidedError, divide, is_equal, is_less, modulo
from serve_deploy.batch_axis.values import Array, Value

LARGEST = 256  # numbers in a tensor that is still followed: shapes, pads and scales are far smaller

_TRUE_TYPES = {1, 10, 11, 16}  # FLOAT, FLOAT16, DOUBLE, BFLOAT16


def fold(operator: str, inputs: Sequence[Value]) -> Array | None:
    """The numbers that an element-wise operator makes of known ones; None where they cannot be known."""
    function = FOLDS.get(operator)
    if function is None or not inputs or any(value.content is None for value in inputs):
        return None
    try:
        result = np.asarray(function(*(value.content for value in inputs)), dtype=object)
    except (UndecidedError, ArithmeticError, TypeError, ValueError):
        return None
    return result if result.size <= LARGEST else None


def cast(content: Array, to: int) -> Array | None:
    """Numbers as another type: only whether they are whole matters here."""
    convert: Callable[[Any], Any] = float if to in _TRUE_TYPES else bool if to == 9 else int
    try:
        return np.asarray(_each(lambda number: _convert(number, convert))(content), dtype=object)
    except (UndecidedError, TypeError, ValueError, OverflowError):
        return None


def _convert(number: Any, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(number, Size):
        return convert(number)
    if convert is bool:
        return not is_equal(number, 0)
    if convert is int and number.per_row and number.constant % 1:
        raise UndecidedError
    if convert is int and number.per_row % 1:
        raise UndecidedError
    return Size(convert(number.constant), convert(number.per_row), number.assumed)


def _rounded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(number: Any) -> Any:
        if not isinstance(number, Size):
            return float(function(number))
        if number.per_row % 1 or (number.per_row and number.constant % 1):
            raise UndecidedError
        return Size(float(function(number.constant)), number.per_row, number.assumed)

    return apply


def _each(function: Callable[..., Any], operands: int = 1) -> Callable[..., Any]:
    return np.frompyfunc(function, operands, 1)


def _least(a: Any, b: Any) -> Any:
    return b if is_less(b, a) else a


def _most(a: Any, b: Any) -> Any:
    return b if is_less(a, b) else a


def _over_all(function: Callable[..., Any]) -> Callable[..., Any]:
    pair = _each(function, 2)

    def apply(first: Array, *others: Array) -> Any:
        for other in others:
            first = pair(first, other)
        return first

    return apply


def _select(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _exact(function: Callable[..., Any], operands: int = 1) -> Callable[..., Any]:
    """A function of constants alone."""

    def apply(*numbers: Any) -> Any:
        if any(isinstance(number, Size) for number in numbers):
            raise UndecidedError
        return function(*numbers)

    return _each(apply, operands)


FOLDS: dict[str, Callable[..., Any]] = {
    "Abs": _each(lambda a: -a if is_less(a, 0) else a),
    "Add": np.add,
    "And": _each(lambda a, b: a and b, 2),
    "Ceil": _each(_rounded(math.ceil)),
    "Div": _each(divide, 2),
    "Equal": _each(is_equal, 2),
    "Floor": _each(_rounded(math.floor)),
    "Greater": _each(lambda a, b: is_less(b, a), 2),
    "GreaterOrEqual": _each(lambda a, b: not is_less(a, b), 2),
    "Identity": lambda a: a,
    "Less": _each(is_less, 2),
    "LessOrEqual": _each(lambda a, b: not is_less(b, a), 2),
    "Max": _over_all(_most),
    "Min": _over_all(_least),
    "Mod": _each(modulo, 2),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": _each(lambda a: not a),
    "Or": _each(lambda a, b: a or b, 2),
    "Pow": _exact(pow, 2),
    "Sqrt": _exact(math.sqrt),
    "Sub": np.subtract,
    "Where": _each(_select, 3),
}
