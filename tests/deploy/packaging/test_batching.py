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
from serve_deploy.packaging.batching import DEFAULT_MAX_BATCH_SIZE, prove_batching
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
