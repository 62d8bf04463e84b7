"""What runs and graph say together, and what a user can do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
import pytest
from batching_models import parse_graph, save
from deceiving_models import UNSEEN

from serve_deploy.batch_axis import Cause, GraphWitness
from serve_deploy.errors import UsageError
from serve_deploy.manifest import BatchingProof
from serve_deploy.packaging.batching.verdict import join_witnesses
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import PackagedModel, package_model

MIXES = Cause("/max", "ReduceMax", "mixes", "reduces over the batch axis", ("y",), None)
SCALE = Cause("/q", "DynamicQuantizeLinear", "mixes", "computes one scale", ("y",), "quantise it statically")
UNKNOWN = Cause("the node that makes 'i'", "my.Op", "unknown", "is no operator of ONNX", ("y",), None)
STATE = Cause("input 'h'", "input", "mixes", "it has its batch on axis 1", (), "export it with the batch first")


def proof(verdict: Literal["batchable", "not_batchable", "undecided"]) -> BatchingProof:
    size = 8 if verdict == "batchable" else 0
    return BatchingProof(verdict=verdict, max_batch_size=size, evidence="seen in runs", batch_sizes=(1, 2))


def witness(*causes: Cause) -> GraphWitness:
    effects = {cause.effect for cause in causes}
    return GraphWitness("mixes" if "mixes" in effects else "unknown" if effects else "independent", causes)


def test_both_agree() -> None:
    """The verdict stays, and there is nothing to do."""
    joined = join_witnesses(proof("batchable"), witness(), can_be_set=True)
    assert (joined.verdict, joined.max_batch_size, joined.next_step) == ("batchable", 8, None)
    assert joined.evidence == "seen in runs; the graph keeps rows apart, too"
    assert joined.graph is not None
    assert joined.graph.verdict == "independent"


def test_runs_alone() -> None:
    """A graph that is not understood leaves what the runs showed, and says where it was lost."""
    joined = join_witnesses(proof("batchable"), witness(UNKNOWN), can_be_set=True)
    assert (joined.verdict, joined.max_batch_size, joined.next_step) == ("batchable", 8, None)
    assert joined.evidence == (
        "seen in runs; by runs alone, since the graph is not understood: "
        "the node that makes 'i' (my.Op) is no operator of ONNX"
    )


def test_a_contradiction_is_not_batchable_unless_asked_for() -> None:
    """What the samples did not show may still happen; the cause and the way to ask are named."""
    joined = join_witnesses(proof("batchable"), witness(MIXES), can_be_set=True)
    assert (joined.verdict, joined.max_batch_size) == ("undecided", 0)
    assert joined.evidence == (
        "rows can mix, though the samples did not show it: node '/max' (ReduceMax) reduces over the batch axis"
    )
    assert joined.next_step == "`max_batch_size` sets it all the same; it is then recorded as not proven"


def test_a_refusal_names_its_cause_in_the_graph() -> None:
    """And both what to change and the way around the runs, with what that does."""
    joined = join_witnesses(proof("not_batchable"), witness(UNKNOWN, MIXES, SCALE), can_be_set=True)
    assert joined.verdict == "not_batchable"
    assert joined.evidence == "seen in runs; in the graph, node '/q' (DynamicQuantizeLinear) computes one scale"
    assert joined.next_step == (
        "quantise it statically; `verify=False` with `max_batch_size` sets it all the same, and rows will then change "
        "each other's results"
    )


def test_what_the_graph_does_not_see_is_refused_all_the_same() -> None:
    """A row that changed did change."""
    joined = join_witnesses(proof("not_batchable"), witness(), can_be_set=True)
    assert (joined.verdict, joined.evidence) == ("not_batchable", "seen in runs")


def test_shapes_that_leave_no_room_are_not_to_be_set() -> None:
    """Then only another export helps; an input is not named twice."""
    joined = join_witnesses(proof("not_batchable"), witness(STATE), can_be_set=False)
    assert (joined.evidence, joined.next_step) == ("seen in runs", "export it with the batch first")
    plain = join_witnesses(proof("not_batchable"), witness(), can_be_set=False)
    assert plain.next_step == (
        "export the model with a free first dimension in every input and output; where it is 1, `fix` may free it"
    )


def test_no_export_helps_a_model_that_mixes_rows() -> None:
    """A free first dimension would not make it batch."""
    joined = join_witnesses(proof("not_batchable"), witness(MIXES), can_be_set=False)
    assert joined.next_step is None


def test_what_was_not_decided_asks_for_samples() -> None:
    """Where the graph knows of nothing that mixes."""
    joined = join_witnesses(proof("undecided"), witness(), can_be_set=True)
    assert joined.verdict == "undecided"
    assert joined.next_step == (
        "give other inputs with `samples`; `max_batch_size` sets it all the same; it is then recorded as not proven"
    )


def test_keeps_no_more_than_five_causes() -> None:
    """What mixes first, and among that what can be changed."""
    joined = join_witnesses(proof("batchable"), witness(*[UNKNOWN] * 4, MIXES, SCALE), can_be_set=True)
    assert joined.graph is not None
    assert [cause.operator for cause in joined.graph.causes] == [
        "DynamicQuantizeLinear", "ReduceMax", "my.Op", "my.Op", "my.Op",
    ]  # fmt: skip


# --- the ways that are named work -----------------------------------------------------------------------------------


def package(model: onnx.ModelProto, folder: Path, **options: object) -> PackagedModel:
    given = PackageOptions(repository=folder / "models", **options)  # type: ignore[arg-type]
    return package_model(save(model, folder), given)


def hidden_mixing() -> onnx.ModelProto:
    """Rows would mix past a threshold that nothing reaches: what is compared with it is always less."""
    return parse_graph(
        """(float[N,4] x) => (float[N,4] y) <float t = {2.0}> {
            s = Sigmoid(x) c = Greater(s, t) k = Cast<to=1>(c) m = ReduceMax<keepdims=0>(k) y = Add(x, m)
        }"""
    )


def test_a_contradiction_can_be_asked_for_and_is_recorded_as_not_proven(tmp_path: Path) -> None:
    """With a real Triton; without asking, nothing is batched."""
    cautious = package(hidden_mixing(), tmp_path, dry_run=True).manifest.batching
    asked = package(hidden_mixing(), tmp_path, max_batch_size=4, runtime="embedded").manifest.batching

    assert (cautious.verdict, cautious.max_batch_size) == ("undecided", 0)
    assert "rows can mix, though the samples did not show it" in cautious.evidence
    assert (asked.verdict, asked.max_batch_size) == ("undecided", 4)
    assert asked.evidence.startswith("max_batch_size was given and is not proven: rows can mix")


def test_what_runs_refuted_is_refused_by_name_and_set_without_running_only(tmp_path: Path) -> None:
    """The hint's way is open: nothing is run, and nothing is called proven."""
    (mixing,) = (trap for trap in UNSEEN if trap.name == "attention_over_the_batch")
    model = parse_graph(mixing.graph)

    with pytest.raises(UsageError) as refused:
        package(model, tmp_path, max_batch_size=4)
    believed = package(model, tmp_path, max_batch_size=4, verify=False).manifest.batching

    assert "changes with the other rows" in refused.value.message
    assert "`verify=False` with `max_batch_size`" in str(refused.value.hint)
    assert (believed.verdict, believed.max_batch_size) == ("undecided", 4)
    assert "nothing is proven" in believed.evidence


def test_a_label_that_is_declared_wrongly_batches_with_its_fix(tmp_path: Path) -> None:
    """As its next step says."""
    model = parse_graph(
        "(float[N,4] x) => (int64[1] label, float[N,4] y) { label = ArgMax<axis=1, keepdims=0>(x) y = Mul(x, x) }"
    )
    plain = package(model, tmp_path, dry_run=True).manifest.batching
    fixed = package(model, tmp_path, dry_run=True, fix=True).manifest.batching

    assert plain.next_step == "`fix` makes that dimension free"
    assert (fixed.verdict, fixed.max_batch_size) == ("batchable", 8)
