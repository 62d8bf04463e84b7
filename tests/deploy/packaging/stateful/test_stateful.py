"""Models whose state Triton keeps: found, proven by sequences, and configured; traps are handled or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from recurrent_models import (
    BATCH_FIRST,
    CACHE,
    CAUSAL_CACHE,
    CELL,
    CONTROLLED,
    MIXES_ROWS,
    NAMELESS,
    SORTED_OTHERWISE,
    TIME_FIRST,
    WITH_SCALAR,
    parse,
    recurrent_model,
)

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.model_config import ConfigOptions, parse_config
from serve_deploy.packaging.options import PackageOptions, StatefulOptions
from serve_deploy.packaging.package import PackagedModel, package_model

LSTM = {"h": "hn", "c": "cn"}


class Packaging:
    """Packages one model after the other into a folder, without a Triton."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, model: onnx.ModelProto | str, *, sequences: StatefulOptions | None = None, **options: object
    ) -> PackagedModel:
        source = self.folder / "m.onnx"
        onnx.save(parse(model) if isinstance(model, str) else model, source)
        asked = {"repository": self.folder / "models", "verify": False, "force": True, **options}
        return package_model(
            source,
            PackageOptions(sequences=sequences or StatefulOptions(stateful=True), **asked),  # type: ignore[arg-type]
        )


@pytest.fixture
def package(tmp_path: Path) -> Packaging:
    return Packaging(tmp_path)


def batching(packaged: PackagedModel) -> dict[str, object]:
    """`sequence_batching` as it was written."""
    from google.protobuf.json_format import MessageToDict

    config = parse_config(packaged.config, Path("config.pbtxt"))
    return MessageToDict(config, preserving_proto_field_name=True)["sequence_batching"]  # type: ignore[no-any-return]


def states(packaged: PackagedModel) -> dict[str, str]:
    assert packaged.manifest.state
    return {state.model_input: state.model_output for state in packaged.manifest.state.states}


# --- the mapping ----------------------------------------------------------------------------------------------------


def test_pytorchs_own_export_is_understood(package: Packaging) -> None:
    """Two layers, batch first, the state's batch on axis 1."""
    tagger = onnx.load(Path(__file__).parents[4] / "examples" / "recurrent" / "tagger.onnx")
    packaged = package(tagger, fix=True)
    assert states(packaged) == {"h0": "hn", "c0": "cn"}
    assert packaged.manifest.batching.max_batch_size == 8


@pytest.mark.parametrize("names", [(("h", "hn"), ("c", "cn")), (("a", "p"), ("b", "q"))])
def test_runs_prove_the_states_of_a_model_with_a_time_axis(
    package: Packaging, names: tuple[tuple[str, str], ...]
) -> None:
    """Whatever the states are called: a sequence of 50 pieces ends as in one go."""
    packaged = package(recurrent_model(states=names))
    assert states(packaged) == dict(names)
    assert packaged.manifest.state
    assert {state.evidence for state in packaged.manifest.state.states} == {"runs"}
    assert "in 50 pieces" in packaged.manifest.state.evidence


def test_the_graph_proves_the_states_of_a_single_step(package: Packaging) -> None:
    """A model that takes one step at a time cannot be run in one go."""
    packaged = package(recurrent_model(time=1))
    assert packaged.manifest.state
    assert {state.evidence for state in packaged.manifest.state.states} == {"graph"}


def test_the_old_value_of_a_cell_goes_on_in_its_new_one(package: Packaging) -> None:
    """So that the other state is the only one left; exchanged, they are refused."""
    packaged = package(CELL)
    assert packaged.manifest.state
    assert [(state.model_output, state.evidence) for state in packaged.manifest.state.states] == [
        ("h_out", "left"),
        ("c_out", "weighed"),
    ]
    with pytest.raises(UsageError, match="the old value of 'c' is weighed into it"):
        package(CELL, sequences=StatefulOptions(stateful=True, state=(("h", "c_out"), ("c", "h_out"))))


@pytest.mark.parametrize("time", ["time", 1])
def test_an_exchanged_mapping_is_refused(package: Packaging, time: int | str) -> None:
    """With the right one as the hint."""
    wrong = StatefulOptions(stateful=True, state=(("h", "cn"), ("c", "hn")))
    with pytest.raises(UsageError, match="`state=h=cn`") as refused:
        package(recurrent_model(time=time), sequences=wrong)
    assert refused.value.hint == "`state=h=hn`"


def test_names_that_the_graph_contradicts_are_refused(package: Packaging) -> None:
    """Both outputs are named; given by hand it is packaged."""
    model = recurrent_model(states=(("h", "cn"), ("c", "hn")), time=1)
    with pytest.raises(UsageError, match="'h' could go on as 'hn' or 'cn'"):
        package(model)
    given = StatefulOptions(stateful=True, state=(("h", "cn"), ("c", "hn")))
    assert states(package(model, sequences=given, fix=True)) == {"h": "cn", "c": "hn"}


def test_states_without_telling_names_are_given_by_hand(package: Packaging) -> None:
    """Without that the model is refused, and its tensors are listed."""
    with pytest.raises(InvalidModelError, match="no state was found"):
        package(NAMELESS)
    given = StatefulOptions(stateful=True, state=(("a", "d"), ("b", "e")))
    assert states(package(NAMELESS, sequences=given)) == {"a": "d", "b": "e"}


def test_a_single_sample_proves_sequences_and_their_batch(package: Packaging) -> None:
    """It meets different states; what is kept is what clients send, once."""
    np.savez(package.folder / "x.npz", x=np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32))
    packaged = package(recurrent_model(), fix=True, samples=package.folder / "x.npz")
    assert (packaged.manifest.samples, packaged.manifest.batching.max_batch_size) == (1, 8)
    np.savez(package.folder / "x.npz", x=np.zeros((1, 3, 5), np.float32))
    with pytest.raises(UsageError, match="the model takes"):
        package(recurrent_model(), fix=True, samples=package.folder / "x.npz")


# --- batches --------------------------------------------------------------------------------------------------------


def test_sequences_of_a_batch_first_state_share_a_batch(package: Packaging) -> None:
    """The file stays as it is: no name and no layout is in the way."""
    packaged = package(BATCH_FIRST)
    assert packaged.manifest.batching.max_batch_size == 8
    assert packaged.manifest.fixes == ()
    proof = packaged.manifest.state
    assert proof
    assert (proof.sequences, proof.steps, proof.largest_batch) == (6, 50, 6)
    assert [tensor.name for tensor in (*packaged.manifest.inputs, *packaged.manifest.outputs)] == ["x", "y"]


def test_a_batch_on_axis_1_is_moved_only_with_fix(package: Packaging) -> None:
    """Without it sequences run one by one, and the next step is said."""
    alone = package(recurrent_model())
    assert alone.manifest.batching.max_batch_size == 0
    assert alone.manifest.batching.next_step == "`fix` moves it in a copy of the model"
    assert batching(alone)["state"][0]["dims"] == ["1", "1", "6"]  # type: ignore[index]
    together = package(recurrent_model(), fix=True)
    assert together.manifest.batching.max_batch_size == 8
    assert batching(together)["state"][0]["dims"] == ["1", "6"]  # type: ignore[index]
    assert together.manifest.fixes == (
        "states 'h', 'c': moved the batch from axis 1 to axis 0, where Triton stacks states",
    )


def test_states_that_triton_would_pair_otherwise_are_renamed_only_with_fix(package: Packaging) -> None:
    """It pairs them by sorted name, and answers with 200."""
    with pytest.raises(InvalidModelError, match="pairs state, state_len with state_len_next, state_next"):
        package(SORTED_OTHERWISE)
    packaged = package(SORTED_OTHERWISE, fix=True)
    written = [(each["input_name"], each["output_name"]) for each in batching(packaged)["state"]]  # type: ignore[attr-defined]
    assert [output for _, output in sorted(written)] == sorted(output for _, output in written)
    assert packaged.manifest.batching.max_batch_size == 8


def test_rows_that_influence_each_other_run_one_by_one(package: Packaging) -> None:
    """Also where it is the state that carries the influence on."""
    packaged = package(MIXES_ROWS, fix=True)
    assert packaged.manifest.batching.max_batch_size == 0
    assert "ReduceMax" in packaged.manifest.batching.evidence
    with pytest.raises(UsageError, match="cannot batch"):
        package(MIXES_ROWS, max_batch_size=4)


def test_a_scalar_becomes_a_constant_of_a_copy(package: Packaging) -> None:
    """Every request of a batch would have to agree on it."""
    alone = package(WITH_SCALAR)
    assert (alone.manifest.batching.max_batch_size, len(alone.manifest.inputs)) == (0, 2)
    fixed = StatefulOptions(stateful=True, constant=(("rate", "0.25"),))
    packaged = package(WITH_SCALAR, sequences=fixed, fix=True)
    assert (packaged.manifest.batching.max_batch_size, len(packaged.manifest.inputs)) == (8, 1)
    with pytest.raises(UsageError, match="needs `fix`"):
        package(WITH_SCALAR, sequences=fixed)


# --- states that grow -----------------------------------------------------------------------------------------------


def test_a_cache_starts_empty_only_with_fix(package: Packaging) -> None:
    """Triton's first state has one entry, which the copy does not show the model."""
    with pytest.raises(InvalidModelError, match="starts empty, which Triton cannot keep"):
        package(CACHE)
    packaged = package(CACHE, fix=True)
    assert "grows, and sequences of different lengths cannot share a batch" in packaged.manifest.batching.evidence
    (first, _) = batching(packaged)["state"]  # type: ignore[misc]
    assert (first["dims"], first["initial_state"][0]["dims"]) == (["1", "1", "-1", "4"], ["1", "1", "1", "4"])
    assert packaged.manifest.state
    assert packaged.manifest.state.steps == 50


def test_a_mask_grows_with_its_sequence(package: Packaging) -> None:
    """Clients send it; what is proven has it as long as the sequence so far."""
    packaged = package(CAUSAL_CACHE, fix=True)
    assert [tensor.name for tensor in packaged.manifest.inputs] == ["x", "attention_mask"]
    assert packaged.manifest.state
    assert {state.evidence for state in packaged.manifest.state.states} == {"runs"}
    assert any("'attention_mask' is as long as the sequence so far" in note for note in packaged.notes)


def test_growing_sequences_do_not_share_a_batch(package: Packaging) -> None:
    """Triton would take shorter ones for longer ones."""
    with pytest.raises(UsageError, match="`max_batch_size=4`: sequences cannot share a batch"):
        package(CACHE, fix=True, max_batch_size=4)


# --- the configuration ----------------------------------------------------------------------------------------------


def test_a_sequence_always_starts_from_zeros(package: Packaging) -> None:
    """Without initial_state it would start from uninitialised memory."""
    for state in batching(package(recurrent_model()))["state"]:  # type: ignore[attr-defined]
        assert state["initial_state"][0]["zero_data"] is True


def test_a_sequence_starts_from_a_file(package: Packaging, tmp_path: Path) -> None:
    """Its bytes stand beside the configuration, in the served layout."""
    start = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    np.save(tmp_path / "h.npy", start)
    options = StatefulOptions(stateful=True, initial_state=(("h", str(tmp_path / "h.npy")),))
    packaged = package(recurrent_model(), sequences=options)
    name = batching(packaged)["state"][0]["initial_state"][0]["data_file"]  # type: ignore[index]
    assert (packaged.folder / "initial_state" / name).read_bytes() == start.tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"initial_state": (("h", "/nowhere.npy"),)}, "/nowhere.npy cannot be read: No such file"),
        ({"initial_state": (("hn", "h.npy"),)}, "'hn' is no state of the model"),
        ({"initial_state": (("h", "h.npy"),)}, "h.npy is not a first value of 'h'"),
        (
            {"initial_state": (("h", "several.npz"),)},
            "several.npz is not a first value of 'h': it holds several arrays",
        ),
        ({"constant": (("x", "1"),)}, "has a size that is not fixed"),
        ({"constant": (("rate", "1"),)}, "the model has no input 'rate'"),
        ({"control": (("START", "x"),)}, "Triton cannot fill x FP32"),
        ({"control": (("START", "first"),)}, "the model has no input 'first'"),
    ],
)
def test_an_option_that_does_not_fit_the_model_is_refused(
    package: Packaging, options: dict[str, tuple[tuple[str, str], ...]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what would fit."""
    monkeypatch.chdir(package.folder)
    np.save("h.npy", np.zeros(5, np.float32))
    np.savez("several.npz", h=np.zeros(6, np.float32))
    with pytest.raises(UsageError, match=words):
        package(recurrent_model(), fix=True, sequences=StatefulOptions(stateful=True, **options))  # type: ignore[arg-type]


def test_an_input_called_start_is_filled_by_triton(package: Packaging) -> None:
    """Clients do not send it."""
    packaged = package(CONTROLLED)
    (control,) = batching(packaged)["control_input"]  # type: ignore[misc]
    assert control == {"name": "START", "control": [{"fp32_false_true": [0.0, 1.0]}]}
    assert "kind: CONTROL_SEQUENCE_START" in packaged.config
    assert [tensor.name for tensor in packaged.manifest.inputs] == ["x"]


def test_a_control_with_a_batch_needs_one(package: Packaging) -> None:
    """Triton would refuse the model; one sequence at a time is a batch of 1."""
    with pytest.raises(UsageError, match="only in a model that batches") as refused:
        package(CONTROLLED, max_batch_size=0)
    assert refused.value.hint == "`max_batch_size=1` runs one sequence at a time"
    assert package(CONTROLLED, max_batch_size=1).manifest.batching.max_batch_size == 1


def test_the_strategy_and_its_limits_are_the_users(package: Packaging) -> None:
    """With reasons beside them."""
    options = StatefulOptions(stateful=True, max_candidate_sequences=16, max_sequence_idle_us=2_000_000)
    packaged = package(BATCH_FIRST, sequences=options, config=ConfigOptions(max_queue_delay_us=300))
    assert batching(packaged)["oldest"] == {
        "max_candidate_sequences": 16, "max_queue_delay_microseconds": "300",
    }  # fmt: skip
    assert "without a request for 2 s a sequence is forgotten" in packaged.config
    direct = package(BATCH_FIRST, sequences=StatefulOptions(stateful=True, sequence_strategy="direct"))
    assert "direct" in batching(direct)


def test_the_next_version_keeps_what_was_set(package: Packaging) -> None:
    """Also that its state is Triton's to keep."""
    package(BATCH_FIRST, sequences=StatefulOptions(stateful=True, max_candidate_sequences=16))
    packaged = package(BATCH_FIRST, sequences=StatefulOptions(), version=None)
    assert batching(packaged)["oldest"] == {"max_candidate_sequences": 16}


@pytest.mark.parametrize(
    "config",
    [ConfigOptions(priority_levels=2), ConfigOptions(response_cache=True), ConfigOptions(max_queue_delay_us=5)],
)
def test_options_of_other_schedulers_are_refused(package: Packaging, config: ConfigOptions) -> None:
    """Triton would refuse them, or not heed them; a delay needs batches."""
    with pytest.raises(UsageError):
        package(recurrent_model(), config=config)


def test_options_for_states_need_one() -> None:
    """They are not forgotten silently."""
    with pytest.raises(UsageError, match="`max_candidate_sequences` needs `stateful`"):
        StatefulOptions(max_candidate_sequences=4)


def test_an_older_version_joins_the_states_that_are_there(package: Packaging) -> None:
    """It keeps the configuration; another state does not fit it."""
    package(BATCH_FIRST, version=2)
    packaged = package(BATCH_FIRST, version=1, sequences=StatefulOptions())
    assert packaged.manifest.other_versions[0].state
    with pytest.raises(DestinationError, match="does not fit the configuration of version 2"):
        package(BATCH_FIRST.replace("state", "memory"), version=1, sequences=StatefulOptions())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (WITH_SCALAR, "input 'rate' is one number for all sequences of a batch"),
        (TIME_FIRST, "input 'x' has its batch on axis 1"),
    ],
)
def test_why_sequences_run_one_by_one_is_said(package: Packaging, model: onnx.ModelProto | str, words: str) -> None:
    """With the next step."""
    packaged = package(model, fix=True)
    assert packaged.manifest.batching.max_batch_size == 0
    assert words in packaged.manifest.batching.evidence
    assert packaged.manifest.batching.next_step


def test_a_batch_that_was_exported_as_1_is_freed_only_with_fix(package: Packaging) -> None:
    """As PyTorch exports it without dynamic axes."""
    model = recurrent_model(batch=1)
    assert "the first dimension of input 'x' is fixed to 1" in package(model).manifest.batching.evidence
    packaged = package(model, fix=True)
    assert packaged.manifest.batching.max_batch_size == 8
    assert packaged.manifest.fixes[0] == "made the batch of 'x', 'h', 'c' free, which was fixed to 1"


def test_a_request_has_one_row_where_sequences_run_one_by_one(package: Packaging) -> None:
    """Triton then refuses more of them, before the model does."""
    packaged = package(recurrent_model())
    assert [tensor.shape for tensor in packaged.manifest.inputs] == [(1, -1, 4)]


def test_only_onnx_models_have_a_state_to_keep(tmp_path: Path) -> None:
    """A Python function keeps none."""
    (tmp_path / "f.py").write_text("def f(x): return x\n")
    with pytest.raises(UsageError, match="`stateful` is for ONNX models"):
        package_model(tmp_path / "f.py", PackageOptions(sequences=StatefulOptions(stateful=True)))


def test_what_looks_like_a_state_is_said_where_it_is_left_to_clients(package: Packaging) -> None:
    """Who does not know the option learns of it, and nothing else changes."""
    packaged = package(BATCH_FIRST, sequences=StatefulOptions())
    assert "'state' and 'state_out' look like states" in packaged.notes[-1]
    assert "sequence_batching" not in packaged.config
