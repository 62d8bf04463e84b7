"""What makes a row of a stack the same as its single run, and what is put down to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from serve_deploy.errors import InvalidModelError
from serve_deploy.packaging.batching.row_checks import Refuted, RowChecks
from serve_deploy.packaging.batching.stacks import Row, Trial

Array = np.ndarray[Any, Any]
Model = Callable[[Array], Array]


def make_rows(model: Model, *values: float, kind: str = "sample") -> list[Row]:
    """Rows of one number with what the model answers to each alone."""
    samples = [np.array([[value]], np.float32) for value in values]
    return [Row({"x": sample}, {"y": model(sample)}, kind) for sample in samples]


def check(model: Model, rows: list[Row], other: list[Row] | None = None, plain: list[Row] | None = None) -> RowChecks:
    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": model(inputs["x"])}

    checks = RowChecks.of(run, plain or rows)
    checks.check(Trial(tuple(rows), tuple(other or ())))
    return checks


def refusal(model: Model, rows: list[Row], other: list[Row] | None = None) -> str:
    with pytest.raises(Refuted) as refuted:
        check(model, rows, other)
    assert refuted.value.verdict == "not_batchable"
    return refuted.value.evidence


def scaled_in_batches(share: float) -> Model:
    """A model that rounds otherwise in a batch, whatever is in it."""
    return lambda x: x * np.float32(1 + share * (len(x) > 1))


def moved_by_neighbours(share: float) -> Model:
    """A model that adds a share of the batch's mean, a row alone included."""
    return lambda x: x + np.float32(share) * x.mean(axis=0, keepdims=True)


def test_equal_rows_pass_and_their_size_is_kept() -> None:
    """The sizes that were run are what the proof may claim."""
    rows = make_rows(np.square, 1, 2, 3)
    checks = check(np.square, rows)
    assert (checks.sizes, checks.largest) == ({1, 3}, 0)


def test_a_row_that_its_neighbours_move_is_refused() -> None:
    """With its place, its output, the size of the batch and by how much."""
    evidence = refusal(moved_by_neighbours(0.1), make_rows(moved_by_neighbours(0.1), 1, 3))
    assert evidence.startswith("row 0 of output 'y' changes with the other rows of its batch of 2: compared with its")


@pytest.mark.parametrize(("share", "passes"), [(1e-5, True), (5e-3, True), (9e-3, True), (1.2e-2, False), (0.5, False)])
def test_the_size_of_a_batch_may_move_a_row_by_a_hundredth(share: float, passes: bool) -> None:
    """Where a batch of its copies moves it in the same way; more than that is not rounding."""
    model = scaled_in_batches(share)
    rows = make_rows(model, 1, 2)
    if passes:
        assert check(model, rows).largest == pytest.approx(share, rel=0.1)
    else:
        assert "compared with its single run" in refusal(model, rows)


def test_rows_made_for_the_proof_may_move_further_with_the_size() -> None:
    """Only samples say what a client sees; a loud row may amplify its rounding, but not by its neighbours."""
    by_size, by_neighbours = scaled_in_batches(0.1), moved_by_neighbours(0.1)
    plain = make_rows(np.positive, 1, 2)
    loud = make_rows(by_size, 1000, 2000, kind="loud")
    assert check(by_size, loud, plain=plain).largest == 0
    with pytest.raises(Refuted):
        check(by_neighbours, make_rows(by_neighbours, 1000, 2000, kind="loud"), plain=plain)


def test_integers_have_no_rounding() -> None:
    """One count off by one, in a batch of copies as well, is refused."""

    def model(x: Array) -> Array:
        return x.astype(np.int64) * 1000 + (len(x) > 1)

    assert "differs in 1 of 1 elements" in refusal(model, make_rows(model, 1, 2))


def test_poison_is_no_row_of_its_own() -> None:
    """What a model answers to NaN may change; what it answers to its neighbour may not."""

    def model(x: Array) -> Array:
        return np.where(np.isnan(x), np.float32(len(x)), x)

    clean = make_rows(model, 1)
    poison = [Row({"x": np.array([[np.nan]], np.float32)}, {"y": np.array([[1.0]], np.float32)}, "nan", poison=True)]
    assert check(model, [*clean, *poison], plain=clean).sizes == {1, 2}


def test_poison_may_change_with_its_neighbours() -> None:
    """In its own place nobody reads it."""

    def model(x: Array) -> Array:
        return np.where(np.isnan(x), np.nansum(x, keepdims=True), x)

    one, two, three = make_rows(model, 1, 2, 3)
    poison = Row({"x": np.array([[np.nan]], np.float32)}, {"y": np.array([[0.0]], np.float32)}, "nan", poison=True)
    assert check(model, [poison, one, two], [poison, one, three], plain=[one, two, three]).sizes == {1, 3}


def test_elements_are_measured_by_samples_alone() -> None:
    """A row that is a million times as loud does not make a small difference of a sample look smaller."""
    rows = [*make_rows(np.positive, 2, -3), *make_rows(np.positive, 3e6, kind="huge")]
    (scale,) = RowChecks.of(lambda inputs: {"y": inputs["x"]}, rows).scales.values()
    assert scale is not None
    assert scale.tolist() == [[3.0]]


def test_poison_that_spreads_is_refused() -> None:
    """A NaN that reaches another row is as bad as a number."""

    def model(x: Array) -> Array:
        return x + 0 * x.sum(axis=0, keepdims=True)

    clean = make_rows(model, 1)
    poison = [Row({"x": np.array([[np.nan]], np.float32)}, {"y": np.array([[np.nan]], np.float32)}, "nan", poison=True)]
    assert "infinite or NaN in other places" in refusal(model, [*clean, *poison])


def test_a_row_must_not_change_with_its_neighbours_by_its_last_digits() -> None:
    """Between two batches of one size nothing moves but a last bit: less than any tolerance is seen there."""
    model = moved_by_neighbours(2e-6)
    one, two, three = make_rows(model, 1, 2, 9)
    check(model, [one, two])
    assert "with others beside it" in refusal(model, [one, two], [one, three])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_last_digits_are_watched_in_every_place(place: int) -> None:
    """The first row of a batch is no better than the others."""
    model = moved_by_neighbours(2e-6)
    one, two, three, four = make_rows(model, 1, 2, 9, 8)
    stacks = [[two, four], [three, four]]
    for stack in stacks:
        stack.insert(place, one)
    assert f"row {place} of output 'y' changes" in refusal(model, stacks[0], stacks[1])


def test_only_rows_in_the_same_place_are_compared_between_two_batches() -> None:
    """A row may move its last digits with its place: kernels work in blocks."""

    def model(x: Array) -> Array:
        return x * (1 + np.float32(4e-6) * np.arange(len(x), dtype=np.float32)[:, None])

    one, two, three = make_rows(model, 1, 2, 3)
    check(model, [one, two], [three, one])


def test_what_differs_between_two_runs_of_one_batch_is_no_neighbours_doing() -> None:
    """A model that is not repeatable to the last digit is held to the tolerance of its type."""
    calls = iter(range(1000))

    def model(x: Array) -> Array:
        return x * np.float32(1 + 5e-6 * (next(calls) % 7))

    rows = make_rows(np.positive, 1, 2, 3)
    check(model, [rows[0], rows[1]], [rows[0], rows[2]], plain=rows)


def test_a_small_number_is_measured_by_its_own_kind() -> None:
    """A score beside a coordinate of 4K: a hundredth of a score is no rounding of the coordinate."""

    def model(x: Array) -> Array:
        score = 0.5 + 0.01 * np.tanh(x.mean(axis=0, keepdims=True) + 0 * x)
        return np.concatenate([x * 3840, score.astype(np.float32)], axis=1)

    assert "row 0" in refusal(model, make_rows(model, 0.1, 0.9))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda x: x[:1], "has shape [1, 1] at batch 3; one result per row would be [3, 1]"),
        (lambda x: np.concatenate([x, x]), "has shape [6, 1] at batch 3"),
        (lambda x: np.tile(x, (1, len(x))), "has shape [3, 3] at batch 3"),
    ],
)
def test_a_stack_has_one_result_for_each_row(model: Model, words: str) -> None:
    """Neither fewer nor more, and each of the shape that it has alone."""
    assert words in refusal(model, make_rows(np.positive, 1, 2, 3))


def test_a_stack_that_the_model_refuses_says_why() -> None:
    """In the runtime's own words."""

    def model(x: Array) -> Array:
        raise InvalidModelError("Reshape: no")

    assert refusal(model, make_rows(np.positive, 1, 2)) == "the model does not run at batch 2: Reshape: no"


def test_a_noise_that_was_explained_once_is_not_explained_again() -> None:
    """A batch of copies is run for the first row that needs it, not for each of a hundred."""
    runs: list[int] = []

    def model(x: Array) -> Array:
        runs.append(len(x))
        return scaled_in_batches(1e-3)(x)

    check(model, make_rows(scaled_in_batches(1e-3), 4.1, 4.3, 4.5, 4.7, 5))
    assert runs == [5, 5]
    check(model, make_rows(scaled_in_batches(1e-3), 1.0, 5.0))
    assert runs == [5, 5, 2, 2, 2]


@pytest.mark.parametrize(("times", "passes"), [(1.0, True), (1.8, True), (2.2, False), (5.0, False)])
def test_noise_is_at_most_twice_what_copies_showed(times: float, passes: bool) -> None:
    """What moves further than that beside others, and not beside its copies, is moved by them."""

    def model(x: Array) -> Array:
        share = np.where(x == x.min(), 1e-3, 1e-3 * times) * (len(x) > 1)
        return (x * (1 + share)).astype(np.float32)

    rows = make_rows(model, 1.0, 1.01)
    if passes:
        assert check(model, rows).largest == pytest.approx(1e-3 * times, rel=0.05)
    else:
        assert refusal(model, rows).startswith("row 1 of output 'y' changes")
