"""How an output's classes are ranked, and what a request says of its sequence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve_deploy.errors import UsageError
from serve_deploy.inference.ranking import rank, read_labels, split_rows
from serve_deploy.inference.request import InferenceOutput, join_labels
from serve_deploy.inference.sequence import sequence_parameters

_ROWS = st.one_of(
    arrays.arrays(dtype, st.integers(1, 20)) for dtype in (np.float32, np.float16, np.uint8, np.uint64, np.int64)
)


@given(_ROWS, st.integers(1, 25))
def test_the_highest_come_first_for_every_type(row: np.ndarray, count: int) -> None:
    """Also where a value cannot be negated; NaN comes after every number."""
    ranked = rank(row, count, {})
    keys = [-np.inf if value != value else value for value in row.tolist()]
    assert [score.index for score in ranked] == sorted(range(len(row)), key=lambda index: -keys[index])[:count]


def test_labels_are_found_by_index() -> None:
    """Triton says `score:index:label`, and a label may hold colons."""
    labels = read_labels(np.array([[b"0.9:2:a:b", b"0.1:0"]], object))
    assert labels == {2: "a:b"}
    assert [score.label for score in rank(np.array([1.0, 2.0, 3.0]), 2, labels)] == ["a:b", ""]


def test_without_batching_an_output_is_one_row() -> None:
    """As Triton counts its classes."""
    assert split_rows(np.zeros((2, 3, 4)), batched=True).shape == (2, 12)
    assert split_rows(np.zeros((2, 3, 4)), batched=False).shape == (1, 24)


def _asked(text: str, *, start: bool = False, end: bool = False) -> SimpleNamespace:
    return SimpleNamespace(sequence_id=text, sequence_start=start, sequence_end=end)


_STATEFUL = SimpleNamespace(name="m", is_sequence=True, members=())
_STATELESS = SimpleNamespace(name="m", is_sequence=False, members=())


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("007", "007"), ("user-7", "user-7"), (str(2**63 - 1), 2**63 - 1)]
)
def test_a_number_is_sent_as_a_number_and_other_ids_as_text(text: str, value: int | str) -> None:
    """A number is what most stateful models take."""
    expected = {"sequence_id": value, "sequence_start": True, "sequence_end": False}
    assert sequence_parameters(_asked(text, start=True), _STATEFUL) == expected


@pytest.mark.parametrize(
    ("asked", "model", "message"),
    [
        (_asked(""), _STATEFUL, "needs its `sequence_id`"),
        (_asked("", end=True), _STATEFUL, "need a `sequence_id`"),
        (_asked("0"), _STATEFUL, "from 1 to"),
        (_asked(str(2**63)), _STATEFUL, "from 1 to"),
        (_asked("7"), _STATELESS, "keeps no sequences"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(asked: SimpleNamespace, model: SimpleNamespace, message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UsageError, match=message):
        sequence_parameters(asked, model)


def _output(name: str, data: np.ndarray) -> InferenceOutput:
    types = {"O": "BYTES", "f": "FP32", "i": "INT64"}
    return InferenceOutput(name, types[data.dtype.kind], data.shape, data)


_LABELS = _output("names", np.array([[b"b", b"a"], [b"a", b"c"]], object))
_SCORES = _output("p", np.array([[0.9, 0.1], [0.8, 0.2]], np.float32))


def test_labels_that_a_model_returns_are_joined_with_their_scores() -> None:
    """By their shapes, whatever they are called; the place among the highest is no class's index."""
    labels, scores = join_labels([_LABELS, _SCORES], None, batched=True)
    assert [[(score.index, score.label) for score in row] for row in labels.classes] == [
        [(None, "b"), (None, "a")], [(None, "a"), (None, "c")],
    ]  # fmt: skip
    assert (scores.part_of, [row[0].score for row in labels.classes]) == (
        "names",
        [pytest.approx(0.9), pytest.approx(0.8)],
    )
    indices = _output("place", np.array([[4, 2], [2, 7]]))
    labels, _scores, _indices = join_labels([_LABELS, _SCORES, indices], 1, batched=True)
    assert [[score.index for score in row] for row in labels.classes] == [[4], [2]]


@pytest.mark.parametrize(
    ("others", "top"),
    [([], None), ([_SCORES], 0), ([_SCORES, _SCORES], None), ([_output("p", np.zeros((2, 3), np.float32))], None)],
)
def test_strings_without_scores_of_their_own_stay_strings(others: list[InferenceOutput], top: int | None) -> None:
    """Nothing beside them, two that could be meant, another shape, or no classes wanted."""
    outputs = join_labels([_LABELS, *others], top, batched=True)
    assert [(output.classes, output.part_of) for output in outputs] == [((), "")] * len(outputs)
