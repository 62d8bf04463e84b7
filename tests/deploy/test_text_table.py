"""Plain tables stay legible where there is little room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.text_table import fit, hang, stack

COLUMNS = ("model", "state", "", "reason")
ROWS = (("digits", "READY", "ok", "–"), ("detector", "UNAVAILABLE", "failed", "the file model.onnx is missing in 1"))


def test_a_table_with_room_is_one_line_a_row() -> None:
    """As wide as its widest cells."""
    assert fit(COLUMNS, ROWS, 80).splitlines() == [
        "model     state                reason",
        "digits    READY        ok      –",
        "detector  UNAVAILABLE  failed  the file model.onnx is missing in 1",
    ]


def test_the_last_column_wraps_before_the_table_is_given_up() -> None:
    """Only the prose at the end breaks, at words, below itself."""
    assert fit(COLUMNS, ROWS, 60).splitlines()[2:] == [
        "detector  UNAVAILABLE  failed  the file model.onnx is",
        " " * 31 + "missing in 1",
    ]


def test_without_room_each_row_is_a_block() -> None:
    """Cells stand below each other with their names; empty ones are left out, nameless ones stand in the heading."""
    assert fit(COLUMNS, ROWS, 40).splitlines() == [
        "digits, ok",
        "  state   READY",
        "detector, failed",
        "  state   UNAVAILABLE",
        "  reason  the file model.onnx is missing",
        "          in 1",
    ]


def test_a_dash_is_left_out_of_a_block() -> None:
    """As an empty cell is."""
    assert stack(("model", "state", "memory"), [("digits", "READY", "-")], 40) == "digits\n  state   READY"


def test_a_number_stays_with_its_unit() -> None:
    """A line never begins with a unit."""
    assert hang("", "slip p99 410 µs", 27).splitlines() == ["slip p99 410 µs"]
    assert hang("generator  ", "CPU 12 %, slip p99 at 410 µs", 35).splitlines()[1].strip() == "410 µs"


WORD = st.text("abcdefgh", min_size=1, max_size=8)
CELL = st.lists(WORD, min_size=1, max_size=8).map(" ".join)


@given(st.lists(st.tuples(WORD, WORD, CELL), min_size=1, max_size=5), st.integers(40, 100))
def test_no_line_is_too_long_and_no_word_is_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the table holds."""
    text = fit(("name", "kind", "words"), rows, width)
    assert max(map(len, text.splitlines())) <= width
    for row in rows:
        assert all(word in text for cell in row for word in cell.split())
