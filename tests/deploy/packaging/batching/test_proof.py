"""The proof that axis 0 is a batch axis, on one tiny model a trap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from batching_models import TRAPS, Trap, parse_graph, recurrent_model, save

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.batching.proof import DEFAULT_MAX_BATCH_SIZE, prove_batching
from serve_deploy.samples.generation import generate_samples
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Arrays = Mapping[str, np.ndarray[Any, Any]]


def prove(model: onnx.ModelProto, folder: Path) -> BatchingProof:
    """Run the proof as packaging does, with generated samples."""
    opened = open_model(save(model, folder))
    return prove_batching(opened.run, opened.signature, generate_samples(opened).samples)


def signature(*shape: int, data_type: DataType = DataType.FP32) -> ModelSignature:
    """One input x and one output y of the same shape."""
    return ModelSignature((TensorSpec("x", data_type, shape),), (TensorSpec("y", data_type, shape),))


def rows(*values: float) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Samples of one row of two numbers."""
    return [{"x": np.array([[value, 1.0]], np.float32)} for value in values]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_sees_through_the_trap(trap: Trap, tmp_path: Path) -> None:
    """Each model gets the verdict that is true of it, with evidence that says why."""
    proof = prove(parse_graph(trap.graph), tmp_path)

    assert (proof.verdict, trap.evidence in proof.evidence) == (trap.verdict, True), proof.evidence
    assert proof.max_batch_size == (DEFAULT_MAX_BATCH_SIZE if trap.verdict == "batchable" else 0)


def test_takes_time_for_no_batch(tmp_path: Path) -> None:
    """A recurrent network over axis 0 carries one row's state into the next."""
    assert prove(recurrent_model(time_first=True), tmp_path).verdict == "not_batchable"


def test_proves_a_recurrent_network_with_its_batch_first(tmp_path: Path) -> None:
    """The same network with its batch on axis 0 is one."""
    assert prove(recurrent_model(time_first=False), tmp_path).verdict == "batchable"


def test_says_which_batch_sizes_were_run() -> None:
    """The proof names the sizes that it ran, the limit among them."""
    proof = prove_batching(lambda inputs: {"y": inputs["x"] * 2}, signature(-1, 2), rows(1, 2, 3), limit=5)

    assert (proof.verdict, proof.batch_sizes, proof.max_batch_size) == ("batchable", (1, 2, 3, 4, 5), 5)


class Clock:
    """A clock that every run of the model moves on."""

    def __init__(self, seconds_a_row: float) -> None:
        self.now, self.seconds_a_row = 0.0, seconds_a_row
        self.sizes: list[int] = []

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        self.sizes.append(len(inputs["x"]))
        self.now += self.seconds_a_row * len(inputs["x"])
        return {"y": inputs["x"] * 2}

    def __call__(self) -> float:
        return self.now


def prove_by(clock: Clock, limit: int = 8, samples: int = 5) -> BatchingProof:
    given = rows(*range(1, samples + 1))
    return prove_batching(clock.run, signature(-1, 2), given, limit=limit, clock=clock)


def test_a_fast_model_is_run_on_everything() -> None:
    """Four samples and one of them again, each kind of row, every size and the trials that make it surer."""
    clock = Clock(0)
    assert prove_by(clock).batch_sizes == tuple(range(1, 9))
    assert clock.sizes.count(1) == 5 + 15
    assert clock.sizes.count(8) == 5


def test_a_slow_model_is_run_at_every_size_with_eight_kinds_of_rows() -> None:
    """Nothing that is not needed for that."""
    clock = Clock(0.1)
    assert prove_by(clock).batch_sizes == tuple(range(1, 9))
    assert sorted(clock.sizes) == [1] * 13 + [2, 3, 4, 4, 5, 6, 7, 8]


def test_a_model_that_takes_seconds_is_run_at_few_sizes_and_that_is_said() -> None:
    """Two, three and the limit in any case; the rest is listed as not run."""
    clock = Clock(1)
    proof = prove_by(clock)
    assert sorted(clock.sizes) == [1] * 13 + [2, 3, 4, 4, 8]
    assert (proof.batch_sizes, proof.batch_sizes_not_run) == ((1, 2, 3, 4, 8), ((5, 7),))
    assert (proof.verdict, proof.max_batch_size) == ("batchable", 8)


def test_stops_within_the_time_that_it_may_take() -> None:
    """Sizes are added while there is time: 12 seconds."""
    assert prove_by(Clock(0.3)).batch_sizes == (1, 2, 3, 4, 7, 8)


def test_a_model_at_the_edge_of_fast_gets_some_of_the_rest() -> None:
    """Within half a second, of which half is for kinds of rows."""
    clock = Clock(0.016)
    prove_by(clock)
    assert clock.sizes.count(1) == 5 + 11
    assert clock.sizes.count(8) == 1


def test_says_what_stayed_the_same() -> None:
    """An input of which the model takes one value only, and an output that never varied."""
    declared = ModelSignature(
        (TensorSpec("x", DataType.FP32, (-1, 2)), TensorSpec("rate", DataType.INT64, (-1, 1))),
        (TensorSpec("y", DataType.FP32, (-1, 2)), TensorSpec("zero", DataType.FP32, (-1, 1))),
    )

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        if (inputs["rate"] != 16000).any():
            raise InvalidModelError("only 16000")
        return {"y": inputs["x"], "zero": np.zeros((len(inputs["x"]), 1), np.float32)}

    samples = [{**row, "rate": np.array([[16000]])} for row in rows(1, 2)]
    proof = prove_batching(run, declared, samples)

    assert (proof.verdict, proof.constant_inputs, proof.constant_outputs) == ("batchable", ("rate",), ("zero",))


def test_an_input_of_one_value_is_given_another() -> None:
    """What is read from the first row for all rows shows, though all samples had the same."""
    declared = ModelSignature(
        (TensorSpec("x", DataType.FP32, (-1, 2)), TensorSpec("rate", DataType.INT64, (-1, 1))),
        (TensorSpec("y", DataType.FP32, (-1, 2)),),
    )

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": inputs["x"] * (inputs["rate"][0, 0] / 16000)}

    samples = [{**row, "rate": np.array([[16000]])} for row in rows(1, 2, 3, 4)]

    assert prove_batching(run, declared, samples).verdict == "not_batchable"


def test_sees_a_label_that_changes_near_its_boundary_only() -> None:
    """A label hides what moves its score: rows beside the boundary show it."""
    declared = ModelSignature((TensorSpec("x", DataType.FP32, (-1, 2)),), (TensorSpec("y", DataType.INT64, (-1,)),))

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        x = np.clip(np.nan_to_num(inputs["x"]), -9, 9).astype(np.float64)
        return {"y": (x[:, 0] > 3.3 + 2e-3 * np.tanh(x[:, 0].mean() - x[:, 0])).astype(np.int64)}

    assert prove_batching(run, declared, rows(1, 2, 4, 5)).verdict == "not_batchable"


def test_a_poison_that_changes_the_size_of_an_answer_is_left_out() -> None:
    """It says nothing of rows that are numbers."""
    declared = ModelSignature(
        (TensorSpec("x", DataType.FP32, (-1, 2)),),
        (TensorSpec("y", DataType.FP32, (-1, 2)), TensorSpec("z", DataType.FP32, (-1, -1))),
    )

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        width = 1 if np.isnan(inputs["x"]).any() else 2
        return {"y": inputs["x"], "z": inputs["x"][:, :width]}

    assert prove_batching(run, declared, rows(1, 2)).verdict == "batchable"


def test_an_output_that_only_poison_varies_did_not_vary() -> None:
    """So that there is nothing to decide on."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": inputs["x"] - inputs["x"]}

    with np.errstate(invalid="ignore"):
        proof = prove_batching(run, signature(-1, 2), rows(1, 2))

    assert (proof.verdict, "every sample gave the same outputs" in proof.evidence) == ("undecided", True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x[:0], "returns 0 rows for a batch of 1"),
        (lambda x: np.concatenate([x, x]), "returns 2 rows for a batch of 1"),
        (lambda x: np.float32(x.sum()), "returns a scalar for a batch of 1"),
        (lambda x: x[:, : 1 + int(x[0, 0] > 1.5)], "depends on the values of the sample: [1, 1] and [1, 2]"),
    ],
)
def test_refuses_a_single_answer_that_is_no_row(answer: Any, words: str) -> None:
    """Before anything is stacked."""
    proof = prove_batching(lambda inputs: {"y": answer(inputs["x"])}, signature(-1, 2), rows(1, 2, 3))

    assert (proof.verdict, words in proof.evidence) == ("not_batchable", True), proof.evidence


def test_offers_no_fix_where_the_rows_of_a_wrong_declaration_mix() -> None:
    """Only a model that batches but for its declaration gets one."""
    declared = ModelSignature((TensorSpec("x", DataType.FP32, (-1, 2)),), (TensorSpec("y", DataType.FP32, (1, -1)),))
    with np.errstate(invalid="ignore"):
        mixing = prove_batching(lambda inputs: {"y": inputs["x"] - inputs["x"].mean(axis=0)}, declared, rows(1, 2))
    fixed = ModelSignature((TensorSpec("x", DataType.FP32, (1, 2)),), declared.outputs)
    both = prove_batching(lambda inputs: {"y": inputs["x"]}, fixed, rows(1, 2))

    assert "first dimension of output 'y' is fixed to 1" in mixing.evidence
    assert (mixing.next_step, both.next_step) == (None, None)


def test_takes_four_samples() -> None:
    """More of them cost time, and show no more than rows made of these."""
    seen: list[float] = []

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        seen.extend(inputs["x"][:, 0].tolist())
        return {"y": inputs["x"]}

    prove_batching(run, signature(-1, 2), rows(11, 12, 13, 14, 15))

    assert {11, 12, 13, 14} <= set(seen)
    assert 15 not in seen


def test_proves_eight_by_default() -> None:
    """Without a limit of the user's."""
    proof = prove_batching(lambda inputs: {"y": inputs["x"] * 2}, signature(-1, 2), rows(1, 2))

    assert (proof.max_batch_size, max(proof.batch_sizes)) == (8, 8)


def test_sees_a_model_that_fails_only_at_the_limit() -> None:
    """Rows that disturb each other from four on are found where the limit lets four together."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        x = inputs["x"]
        return {"y": x - x.mean(axis=0) if len(x) > 3 else x}

    assert prove_batching(run, signature(-1, 2), rows(1, 2), limit=8).verdict == "not_batchable"


def test_allows_what_another_order_of_summing_changes() -> None:
    """A float may move by its rounding with the size of the batch."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": inputs["x"] * np.float32(1 + 1e-6 * len(inputs["x"]))}

    proof = prove_batching(run, signature(-1, 2), rows(1, 2))

    assert proof.verdict == "batchable"
    assert proof.largest_difference is not None
    assert 0 < proof.largest_difference < 1e-4


def test_tells_a_models_own_rounding_from_mixing() -> None:
    """A step of quantisation that depends on the batch's size alone is noise; one that depends on neighbours is not."""

    def by_size(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": inputs["x"] * np.float32(1 + 2e-3 * (len(inputs["x"]) > 1))}

    def by_neighbours(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        others = np.nansum(inputs["x"], axis=0, dtype=np.float64) - np.nan_to_num(inputs["x"])
        return {"y": inputs["x"] * (1 + 2e-3 * np.sign(others).astype(np.float32))}

    verdicts = [prove_batching(run, signature(-1, 2), rows(1, -2)).verdict for run in (by_size, by_neighbours)]

    assert verdicts == ["batchable", "not_batchable"]


def test_is_exact_about_integers() -> None:
    """A single count that is off by one refutes the batch."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": inputs["x"] + (len(inputs["x"]) > 2)}

    samples = [{"x": np.array([[value, 5]])} for value in (1_000_000, 2_000_000)]

    proof = prove_batching(run, signature(-1, 2, data_type=DataType.INT64), samples)

    assert (proof.verdict, "differs in 2 of 2 elements" in proof.evidence) == ("not_batchable", True)


def test_compares_strings() -> None:
    """String outputs are compared as they are; texts that the model refuses prove nothing."""
    run_texts = {"a": "x", "b": "y", "c": "z"}

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        if not set(inputs["x"].flat) <= set(run_texts):
            raise InvalidModelError("unknown text")
        return {"y": np.array([[run_texts[text] for text in row] for row in inputs["x"]], object)}

    samples = [{"x": np.array([[text]], object)} for text in run_texts]

    assert prove_batching(run, signature(-1, 1, data_type=DataType.BYTES), samples).verdict == "batchable"


def test_cannot_decide_on_one_row() -> None:
    """Rows that are all the same cannot show that they mix."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        if (inputs["x"] != 7).any():
            raise InvalidModelError("only 7")
        return {"y": inputs["x"]}

    proof = prove_batching(run, signature(-1, 2, data_type=DataType.INT64), [{"x": np.array([[7, 7]])}])

    assert (proof.verdict, proof.max_batch_size) == ("undecided", 0)
    assert "only one distinct sample" in proof.evidence


def test_cannot_decide_without_samples() -> None:
    """A model that accepted no sample gets no batch."""
    proof = prove_batching(lambda inputs: {"y": inputs["x"]}, signature(-1, 2), [])

    assert (proof.verdict, proof.max_batch_size) == ("undecided", 0)


def test_reports_why_a_stack_was_refused() -> None:
    """The runtime's own words are the evidence."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        if len(inputs["x"]) > 1:
            raise InvalidModelError("Reshape: cannot reshape")
        return {"y": inputs["x"]}

    proof = prove_batching(run, signature(-1, 2), rows(1, 2))

    assert (proof.verdict, proof.evidence) == (
        "not_batchable",
        "the model does not run at batch 2: Reshape: cannot reshape",
    )


def test_leaves_out_scaled_samples_that_the_model_refuses() -> None:
    """A model that checks its values is proven with the values that it takes."""

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        if np.abs(inputs["x"]).max() > 10:
            raise InvalidModelError("out of range")
        return {"y": inputs["x"]}

    assert prove_batching(run, signature(-1, 2), rows(1, 2)).verdict == "batchable"


def test_offers_the_fix_for_a_label_that_is_declared_wrongly() -> None:
    """An output declared [1] that has one row per sample is named together with the fix."""
    declared = ModelSignature((TensorSpec("x", DataType.FP32, (-1, 2)),), (TensorSpec("y", DataType.FP32, (1,)),))

    proof = prove_batching(lambda inputs: {"y": inputs["x"][:, 0]}, declared, rows(1, 2))

    assert (proof.verdict, "a fixed copy" in proof.evidence) == ("not_batchable", True)


@pytest.mark.parametrize(("shape", "reason"), [((-1, 3), None), ((2, 3), "fixed to 2"), ((), "scalar")])
def test_judges_by_shapes_what_needs_no_run(shape: tuple[int, ...], reason: str | None) -> None:
    """A fixed first dim or none at all settles it."""
    found = signature(*shape).batch_obstacle

    assert found is None if reason is None else reason in str(found)
