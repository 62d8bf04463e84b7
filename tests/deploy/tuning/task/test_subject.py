"""What is tuned: one model, the members of an ensemble, or several models; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from timed_models import add_ensemble, add_timed_model

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Value
from serve_deploy.tuning.prediction.ranking import make_space
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Subject, read_subject


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two models, an ensemble that runs one of them twice, and one that runs that ensemble."""
    for name in ("encode", "decode"):
        add_timed_model(tmp_path, name, base=0.0, row=0.0)
    add_ensemble(tmp_path, "inner", ("encode", "decode", "encode"), max_batch_size=2)
    add_ensemble(tmp_path, "outer", ("inner", "decode"), max_batch_size=2)
    return tmp_path


def _read(repository: Path, *models: str, **options: Any) -> Subject:
    return read_subject(TuneOptions(repository=repository, models=models, **options))


def test_one_model_has_plain_paths(repository: Path) -> None:
    """As its config.pbtxt has them."""
    subject = _read(repository, "encode")
    assert dict(subject.baseline.values) == {
        BATCH: 2,
        DELAY: 0,
        "dynamic_batching.preferred_batch_size": None,
        INSTANCES: 1,
    }
    assert (subject.name, subject.flows) == ("encode", ())


@pytest.mark.parametrize("ensemble", ["inner", "outer"])
def test_members_are_tuned_once_each(repository: Path, ensemble: str) -> None:
    """However often they are run, and through whichever ensembles; their paths have them in front."""
    subject = _read(repository, ensemble)
    assert [part.name for part in subject.parts] == ["encode", "decode"]
    assert [each.name for each in subject.ensembles] == ["inner", "outer"][: 1 + (ensemble == "outer")]
    assert subject.baseline[f"encode:{BATCH}"] == subject.baseline[f"decode:{BATCH}"] == 2
    (flow,) = subject.flows
    assert [step.model for step in flow.steps] == ["encode", "decode", "encode", "decode"][: 3 + (ensemble == "outer")]


def test_an_ensemble_takes_no_larger_batches_than_its_members(repository: Path) -> None:
    """Triton would refuse it; with members that take more it stays as it is."""
    subject = _read(repository, "outer")

    def sizes(encode: int, decode: int) -> dict[str, int]:
        changed = {f"encode:{BATCH}": encode, f"decode:{BATCH}": decode}
        configs = subject.configs(subject.baseline.changed(changed))
        return {name: config.max_batch_size for name, config in configs.items()}

    assert sizes(8, 1) == {"encode": 8, "decode": 1, "inner": 1, "outer": 1}
    assert sizes(8, 4) == {"encode": 8, "decode": 4, "inner": 2, "outer": 2}


def test_a_candidate_of_one_part_is_about_that_alone(repository: Path) -> None:
    """Its server loads nothing else, and is sent what that model gets."""
    subject = _read(repository, "inner")
    alone = subject.parts[1].baseline.placed("decode")
    assert list(subject.configs(alone)) == ["decode"]
    assert subject.of(alone).weights == {"decode": 1.0}
    assert subject.of(subject.baseline) is subject


def test_several_models_have_weights(repository: Path) -> None:
    """An ensemble may be one of them, and a member of it another."""
    subject = _read(repository, "inner", "decode", weights=(("inner", 3.0),))
    assert subject.weights == {"inner": 3.0, "decode": 1.0}
    assert [part.name for part in subject.parts] == ["encode", "decode"]


def test_vary_names_one_model_or_all(repository: Path) -> None:
    """A path with a model in front is about that one."""
    subject = _read(repository, "inner", vary=(("parameters.x", (1,)), ("decode:parameters.y", (2,))))
    chosen = [part.choose(TuneOptions(vary=(("encode:a", (1,)), ("b", (2,))))).vary for part in subject.parts]
    assert chosen == [(("a", (1,)), ("b", (2,))), (("b", (2,)),)]
    assert {path for path, _ in subject.baseline.values if "parameters" in path} == {
        "encode:parameters.x", "decode:parameters.x", "decode:parameters.y"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (("encode", 2.0),)}, "not one of the models"),
        ({"vary": (("other:max_batch_size", (1,)),)}, "other is not tuned"),
        ({"models": ("inner", "decode"), "data": Path("x.npz")}, "of one model, not of 2"),
        ({"models": ("nothing",)}, "no such model"),
    ],
)
def test_what_fits_no_model_is_refused(repository: Path, options: dict[str, Any], message: str) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=message):
        read_subject(TuneOptions(repository=repository, **{"models": ("inner",), **options}))


@pytest.mark.parametrize(
    ("vary", "options", "message"),
    [
        ((INSTANCES, (1, 16)), {"max_instances": 8}, "16 is more than `max_instances=8`"),
        ((INSTANCES, (0,)), {}, "0 is not a whole number from 1 on"),
        ((INSTANCES, (True,)), {}, "true is not a whole number"),
        (("encode:max_batch_size", ("many",)), {}, "many is not a whole number"),
        ((BATCH, (4, 32)), {"max_batch_size": 16}, "32 is more than `max_batch_size=16`"),
        ((DELAY, (None,)), {}, "not set is not a whole number from 0 on"),
        ((PREFERRED, ((1, 4),)), {}, r"\[1, 4\] is no list of batch sizes from 2 on"),
        ((PREFERRED, ((128,),)), {}, r"\[128\] is beyond the largest batch that is tried, 64"),
        (("alone:max_batch_size", (4,)), {}, "alone:max_batch_size`: the model does not batch"),
    ],
)
def test_a_value_that_cannot_be_tried_is_refused(
    repository: Path, vary: tuple[str, tuple[Value, ...]], options: dict[str, Any], message: str
) -> None:
    """What a user names is tried or refused, and never left out without a word."""
    add_timed_model(repository, "alone", base=0.0, row=0.0, config="")
    with pytest.raises(UsageError, match=message):
        _read(repository, "inner", "alone", vary=(vary,), **options)


def test_what_some_of_the_models_take_is_no_fault_of_the_others(repository: Path) -> None:
    """Batches are for those that batch, where no model is named."""
    add_timed_model(repository, "alone", base=0.0, row=0.0, config="")
    assert len(_read(repository, "inner", "alone", vary=((BATCH, (4,)), (PREFERRED, (4, None)))).parts) == 3


def test_a_field_that_is_named_twice_has_all_its_values(repository: Path) -> None:
    """In general and of one model, too."""
    vary = ((INSTANCES, (1, 2)), (f"decode:{INSTANCES}", (4,)), (INSTANCES, (2, 3)), (PREFERRED, (4,)))
    parts = _read(repository, "inner", vary=vary).parts
    chosen = {part.name: dict(part.choose(TuneOptions(vary=vary)).vary) for part in parts}
    assert {name: values[INSTANCES] for name, values in chosen.items()} == {"encode": (1, 2, 3), "decode": (1, 2, 4, 3)}
    assert chosen["encode"][PREFERRED] == ((4,),)


@pytest.mark.parametrize(
    ("config", "reason"),
    [("sequence_batching { }", "decode cannot be tuned: it keeps state"),
     ("model_transaction_policy { decoupled: true }", "decode cannot be tuned: it is decoupled")],
)  # fmt: skip
def test_a_member_that_cannot_be_tuned_is_named(tmp_path: Path, config: str, reason: str) -> None:
    """The ensemble is refused with it."""
    add_timed_model(tmp_path, "encode", base=0.0, row=0.0)
    add_timed_model(tmp_path, "decode", base=0.0, row=0.0, config=f"max_batch_size: 2 {config}")
    add_ensemble(tmp_path, "both", ("encode", "decode"))
    with pytest.raises(UsageError, match=reason):
        _read(tmp_path, "both")


@pytest.mark.parametrize(("members", "message"), [(("nothing",), "does not contain"), (("both",), "in a circle")])
def test_a_broken_ensemble_is_refused(tmp_path: Path, members: tuple[str, ...], message: str) -> None:
    """A member that is not there, or the ensemble itself."""
    add_ensemble(tmp_path, "both", members)
    with pytest.raises(InvalidModelError, match=message):
        _read(tmp_path, "both")


@pytest.mark.parametrize("name", ["", "encode"])
def test_what_holds_no_models_is_refused(repository: Path, name: str) -> None:
    """An empty folder, and a model's own."""
    folder = repository / name if name else repository / "empty"
    folder.mkdir(exist_ok=True)
    with pytest.raises(UsageError, match="model's folder" if name else "contains no models"):
        _read(folder, "encode")


@pytest.mark.parametrize(
    ("options", "measured", "tried"),
    [
        ({"max_batch_size": 1}, 2, (1,)),
        ({"max_batch_size": 4}, 4, (1, 2, 4)),
        ({"vary": ((BATCH, (2, 96)),)}, 96, (2, 96)),
    ],
)
def test_batches_are_measured_up_to_all_that_is_simulated(
    repository: Path, options: dict[str, Any], measured: int, tried: tuple[int, ...]
) -> None:
    """The file's own configuration is simulated too, and so is what `vary` names; no more than asked for is tried."""
    (part,) = _read(repository, "encode", **options).parts
    space = make_space(part.choose(TuneOptions(**options)), part.baseline, part.largest_batch, {})
    assert (part.largest_batch, space.batch_sizes) == (measured, tried)
