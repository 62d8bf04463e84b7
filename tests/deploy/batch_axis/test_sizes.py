"""Arithmetic on numbers that depend on the batch agrees with arithmetic on plain numbers, at every batch size."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.batch_axis.sizes import ROWS, Size, UndecidedError, divide, is_equal, is_less, modulo

_BATCHES = range(1, 12)
_SIZES = st.builds(Size, st.integers(-8, 8), st.integers(-4, 4)) | st.integers(-8, 8)


def _at(number: Any, rows: int) -> Any:
    return number.constant + number.per_row * rows if isinstance(number, Size) else number


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.mark.parametrize(
    ("on_sizes", "on_numbers"),
    [
        (operator.add, operator.add),
        (operator.sub, operator.sub),
        (operator.mul, operator.mul),
        (divide, _quotient),
        (modulo, operator.mod),
        (is_less, operator.lt),
        (is_equal, operator.eq),
    ],
    ids=["add", "sub", "mul", "divide", "modulo", "is_less", "is_equal"],
)
@given(_SIZES, _SIZES)
def test_what_is_decided_holds_in_every_batch(
    on_sizes: Callable[..., Any], on_numbers: Callable[..., Any], a: Any, b: Any
) -> None:
    """Whatever a size is computed to be, it is that for every number of rows; or it is not decided."""
    try:
        result = on_sizes(a, b)
    except UndecidedError:
        return
    for rows in _BATCHES:
        try:
            expected = on_numbers(_at(a, rows), _at(b, rows))
        except ZeroDivisionError:
            continue
        assert _at(result, rows) == expected


def test_a_free_dimension_is_positive_and_no_more_is_known_of_it() -> None:
    """It differs from 0 and -1; whether it is less than a constant is not decided."""
    free = Size(88, 0, assumed=True)
    assert not is_equal(free, -1)
    assert is_less(0, free)
    with pytest.raises(UndecidedError):
        is_less(free, 512)


def test_the_number_of_rows_is_at_least_one() -> None:
    """It differs from 0; whether it is 5 is not decided."""
    assert not is_equal(ROWS, 0)
    with pytest.raises(UndecidedError):
        is_equal(ROWS, 5)
