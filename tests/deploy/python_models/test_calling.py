"""Requests that come together are answered as if each had come alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.python_models.adapter.serve_calling import Caller, RefusedError, Tensor, answer_requests

_CALLER_TYPES = (Tensor("x", "int64", (-1, -1)), Tensor("extra", "int64", (-1,)))


def _sums(x: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """The sum of each row; a 13 in it is refused."""
    if (x == 13).any():
        raise ValueError("13 is not welcome")
    return x.sum(axis=1) + (0 if extra is None else extra)


_CALLER = Caller(_sums, _CALLER_TYPES, (Tensor("sum", "int64", (-1,)),), batched=True)


@st.composite
def _requests(draw: st.DrawFn) -> dict[str, np.ndarray]:
    rows, width = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    values = draw(st.lists(st.integers(10, 14), min_size=rows * width, max_size=rows * width))
    request = {"x": np.array(values).reshape(rows, width)}
    if draw(st.booleans()):
        request["extra"] = np.arange(rows)
    return request


def _plain(answer: Any) -> object:
    return str(answer) if isinstance(answer, RefusedError) else answer["sum"].tolist()


@given(st.lists(_requests(), max_size=8), st.booleans())
def test_neighbours_change_no_answer(asked: list[dict[str, np.ndarray]], merges: bool) -> None:
    """Of any sizes, shapes and inputs, with errors among them, merged or not."""
    together = [_plain(answer) for answer in answer_requests(_CALLER, asked, merges=merges)]
    alone = [_plain(answer) for request in asked for answer in answer_requests(_CALLER, [request], merges=False)]
    assert together == alone


def test_requests_of_one_shape_share_a_call() -> None:
    """One call where nothing fails; with a wrong one among them, one more for each."""
    calls: list[int] = []

    def counting(arrays: Any) -> Any:
        calls.append(len(arrays["x"]))
        return _CALLER(arrays)

    asked = [{"x": np.full((rows, 2), rows)} for rows in (1, 2, 3)]
    answer_requests(counting, asked, merges=True)
    assert calls == [6]
    answers = answer_requests(counting, [*asked, {"x": np.full((1, 2), 13)}], merges=True)
    assert calls == [6, 7, 1, 2, 3, 1]
    assert [isinstance(answer, RefusedError) for answer in answers] == [False, False, False, True]


def test_byte_order_is_this_machines() -> None:
    """An array from a file may have the other one, which Triton would not see."""
    swapped = Caller(lambda x: x.astype(">i8"), _CALLER_TYPES[:1], (Tensor("y", "int64", (-1, -1)),), batched=True)
    assert swapped({"x": np.array([[1, 2]])})["y"].tobytes() == np.array([[1, 2]]).tobytes()
