"""What the proof of batching tries, how long it goes on, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.packaging.batching.proof import prove_batching
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


def signature(inputs: str = "x", outputs: str = "y", *, output_shape: tuple[int, ...] = (-1, 2)) -> ModelSignature:
    """Inputs of two numbers, named by a letter each, and outputs of a shape."""
    return ModelSignature(
        tuple(TensorSpec(name, DataType.FP32, (-1, 2)) for name in inputs),
        tuple(TensorSpec(name, DataType.FP32, output_shape) for name in outputs),
    )


def rows(*values: float) -> list[dict[str, Array]]:
    """Samples of one row of two numbers."""
    return [{"x": np.array([[value, 1.0]], np.float32)} for value in values]


class Recorder:
    """A model that remembers what it was asked."""

    def __init__(self, model: Callable[[Arrays], Arrays]) -> None:
        self.model = model
        self.asked: list[Arrays] = []

    def __call__(self, inputs: Arrays) -> Arrays:
        self.asked.append(inputs)
        return self.model(inputs)

    def count(self, *, alone: bool) -> int:
        """How often it was asked for one row, or for several."""
        return sum((len(next(iter(inputs.values()))) == 1) is alone for inputs in self.asked)


def same(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"]}


def label(inputs: Arrays) -> Arrays:
    return {"y": (np.abs(inputs["x"][:, :1]) > 3.7).astype(np.int64)}


def only(*values: float) -> Callable[[Arrays], Arrays]:
    """A model that knows no other numbers."""

    def run(inputs: Arrays) -> Arrays:
        if not np.isin(inputs["x"], [1.0, *values]).all():
            raise InvalidModelError("unknown")
        return same(inputs)

    return run


def prove(run: Callable[[Arrays], Arrays], samples: Sequence[Arrays], at: float = 0.0) -> BatchingProof:
    """The proof on a clock that says `at` seconds after the start."""
    return prove_batching(run, signature(), samples, clock=chain([100.0], repeat(100.0 + at)).__next__)


# --- how long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "enough"), [(0.25, False), (0.26, True), (1.0, True)])
def test_after_a_quarter_of_a_second_eight_variants_are_enough(seconds: float, enough: bool) -> None:
    """Beside the two samples, and one of them again."""
    model = Recorder(same)
    prove(model, rows(1, 2), seconds)
    assert (model.count(alone=True) == 2 + 1 + 8) is enough
    assert model.count(alone=True) >= 2 + 1 + 8


@pytest.mark.parametrize(("seconds", "sizes"), [(12.0, tuple(range(1, 9))), (12.1, (1, 2, 3, 4, 8))])
def test_after_twelve_seconds_only_the_sizes_that_it_needs_are_run(seconds: float, sizes: tuple[int, ...]) -> None:
    """The proof says which it left out."""
    proof = prove(same, rows(1, 2), seconds)
    assert (proof.verdict, proof.batch_sizes, proof.max_batch_size) == ("batchable", sizes, 8)
    assert proof.batch_sizes_not_run == (() if len(sizes) == 8 else ((5, 7),))


def test_after_half_a_second_nothing_is_run_for_certainty_alone() -> None:
    """Further neighbours at sizes that were run."""
    counts = []
    for seconds in (0.5, 0.51, 11.0):
        model = Recorder(same)
        prove(model, rows(1, 2), seconds)
        counts.append(model.count(alone=False))
    assert counts[0] > counts[1] == counts[2]


# --- which rows -----------------------------------------------------------------------------------------------------


def test_at_most_four_samples_are_run() -> None:
    """More tell little."""
    assert prove(same, rows(1, 2, 3, 4, 5, 6)).evidence.startswith(
        "4 different samples and rows made from them (loud, "
    )


def test_rows_on_either_side_of_where_a_label_changes_are_stacked() -> None:
    """There the least influence of a neighbour shows."""
    model = Recorder(label)
    proof = prove(model, rows(1, 6))
    stacked = np.concatenate([inputs["x"][:, 0] for inputs in model.asked if len(inputs["x"]) > 1])
    assert proof.verdict == "batchable"
    assert ", boundary)" in proof.evidence
    assert 3.69 < stacked[stacked <= 3.7].max() <= 3.7 < stacked[(stacked > 3.7)].min() < 3.71


def test_three_changes_of_label_are_looked_into_by_twelve_runs_each() -> None:
    """Numbers have no such edge."""
    numbers, labels = Recorder(same), Recorder(label)
    assert "boundary" not in prove(numbers, rows(1, 6, 2, 5)).evidence
    prove(labels, rows(1, 6, 2, 5))
    assert labels.count(alone=True) - numbers.count(alone=True) == 3 * 12


def test_no_change_of_label_is_looked_into_when_time_is_up() -> None:
    """One run says that it is too late."""
    counts = []
    for seconds in (12.0, 12.1):
        model = Recorder(label)
        prove(model, rows(1, 6), seconds)
        counts.append(model.count(alone=True))
    assert counts[0] - counts[1] >= 11


def test_a_change_of_label_between_values_that_the_model_refuses_is_left_alone() -> None:
    """There is no row between two categories."""

    def run(inputs: Arrays) -> Arrays:
        return label(only(6)(inputs) and inputs)

    assert prove(run, rows(1, 6)).verdict == "batchable"


def test_where_the_model_refuses_all_inputs_changed_each_is_changed_alone() -> None:
    """One after the other: the model may take only the last."""

    def run(inputs: Arrays) -> Arrays:
        if inputs["a"].max() > 100:
            raise InvalidModelError("too loud")
        return {"y": inputs["a"] + inputs["b"]}

    model = Recorder(run)
    samples = [{"a": row["x"], "b": row["x"] * 2} for row in rows(1, 2)]
    assert prove_batching(model, signature("ab"), samples).verdict == "batchable"
    loud = {(inputs["a"].max() > 100, inputs["b"].max() > 100) for inputs in model.asked}
    assert loud == {(False, False), (True, False), (False, True), (True, True)}


def test_poison_that_changes_the_size_of_an_answer_is_left_out() -> None:
    """A model that drops what is no number may do so."""

    def run(inputs: Arrays) -> Arrays:
        return {"y": inputs["x"] if not np.isnan(inputs["x"]).any() else inputs["x"][:, :1]}

    proof = prove(run, rows(1, 2))
    assert (proof.verdict, "not a number" in proof.evidence) == ("batchable", False)


def test_two_samples_are_distinct_without_any_variant() -> None:
    """Also where the model takes nothing else; the evidence names them alone."""
    proof = prove(only(2, 3), rows(2, 3))
    assert (proof.verdict, proof.evidence) == (
        "batchable",
        "2 different samples, stacked on axis 0 at batch 1 to 8: every row of every output equals its single run "
        "(max rel diff 0.0e+00)",
    )


def test_one_sample_is_called_one_sample() -> None:
    """With the rows that were made from it."""
    assert prove(same, rows(2)).evidence.startswith("1 sample and rows made from them (another x, loud, ")


# --- what refutes ---------------------------------------------------------------------------------------------------


def test_an_answer_whose_size_depends_on_the_values_is_no_row() -> None:
    """Two of the sizes are named."""

    def run(inputs: Arrays) -> Arrays:
        largest = np.abs(np.nan_to_num(inputs["x"])).max()
        return {"y": np.repeat(inputs["x"][:, :1], 1 + int(largest > 10) + int(largest > 1e5), axis=1)}

    proof = prove(run, rows(1, 2))
    assert (proof.verdict, proof.max_batch_size) == ("not_batchable", 0)
    assert proof.evidence == "the size of output 'y' depends on the values of the sample: [1, 1] and [1, 2]"


@pytest.mark.parametrize(
    ("answer", "words"),
    [(lambda x: np.repeat(x, 2, axis=0), "returns 2 rows"), (lambda x: np.float32(x.sum()).reshape(()), "a scalar")],
)
def test_a_row_has_one_result(answer: Callable[[Array], Array], words: str) -> None:
    """Not two, and not one without an axis."""
    proof = prove(lambda inputs: {"y": answer(inputs["x"])}, rows(1, 2))
    assert (proof.verdict, words in proof.evidence) == ("not_batchable", True), proof.evidence


def test_answers_that_never_vary_prove_nothing() -> None:
    """Rows that mix would not show."""
    proof = prove(lambda inputs: {"y": np.zeros_like(inputs["x"])}, rows(1, 2))
    assert (proof.verdict, proof.evidence) == (
        "undecided", "every sample gave the same outputs, so mixed rows would not show",
    )  # fmt: skip


def test_an_output_that_never_varies_is_named() -> None:
    """Poison does not count as a change of it."""

    def run(inputs: Arrays) -> Arrays:
        return {"y": inputs["x"], "z": np.where(np.isfinite(inputs["x"]), 0, inputs["x"])}

    proof = prove_batching(run, signature(outputs="yz"), rows(1, 2))
    assert (proof.verdict, proof.constant_outputs) == ("batchable", ("z",))
    assert proof.evidence.endswith("; 'z' did not vary")


# --- samples that are no rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "words"),
    [([], "that the model accepts"), ([(3, 2)], "with 1 on axis 0 of every input"), ([()], "with 1")],
)
def test_without_a_row_there_is_no_proof(shapes: list[tuple[int, ...]], words: str) -> None:
    """Whether there is no sample, or none of one row."""
    proof = prove(same, [{"x": np.ones(shape, np.float32)} for shape in shapes])
    assert (proof.verdict, proof.max_batch_size) == ("undecided", 0)
    assert proof.evidence.startswith(f"there is no sample {words}")


def test_a_model_that_takes_three_but_not_one_has_no_batch() -> None:
    """The first row of the sample is tried alone."""

    def run(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) == 1:
            raise InvalidModelError("three, please")
        return same(inputs)

    proof = prove(run, [{"x": np.ones((3, 2), np.float32)}])
    assert (proof.verdict, proof.evidence) == (
        "not_batchable", "the model runs at 3 on axis 0 but not at 1: three, please",
    )  # fmt: skip


def test_a_sample_that_the_model_refuses_decides_nothing() -> None:
    """It may be the sample's fault."""
    proof = prove(only(7), rows(2, 3))
    assert (proof.verdict, proof.evidence) == ("undecided", "the model refuses a sample at batch 1: unknown")


# --- outputs that are declared wrongly ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "offered"), [(lambda x: x[:, 0], True), (lambda x: np.maximum.accumulate(x[:, 0]), False)]
)
def test_a_fix_is_offered_only_where_the_rows_hold(answer: Callable[[Array], Array], offered: bool) -> None:
    """An output declared as one may be a row for each sample, or may not."""
    declared = signature(output_shape=(1,))
    proof = prove_batching(lambda inputs: {"y": answer(inputs["x"])}, declared, rows(1, 2))
    assert (proof.verdict, proof.max_batch_size) == ("not_batchable", 0)
    assert (proof.next_step is not None) is ("a fixed copy" in proof.evidence) is offered


def test_no_fix_is_offered_for_an_output_without_an_axis() -> None:
    """There is no dimension to free."""
    proof = prove_batching(lambda inputs: {"y": inputs["x"][:, 0]}, signature(output_shape=()), rows(1, 2))
    assert (proof.verdict, proof.next_step) == ("not_batchable", None)


def test_no_fix_of_outputs_is_offered_where_an_input_is_fixed() -> None:
    """Freeing the output alone would not batch."""
    declared = ModelSignature((TensorSpec("x", DataType.FP32, (1, 2)),), signature(output_shape=(1,)).outputs)
    proof = prove_batching(lambda inputs: {"y": inputs["x"][:, 0]}, declared, rows(1, 2))
    assert (proof.verdict, proof.next_step) == ("not_batchable", None)
