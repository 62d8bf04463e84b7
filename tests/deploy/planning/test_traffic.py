"""Whose sweep sets the targets of a pod: one model's sweep does not speak for the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import add_model
from sweeps import TARGET, report

from serve_deploy.errors import InvalidModelError, ServeError, UsageError
from serve_deploy.planning.traffic import plan_traffic, read_mix
from serve_deploy.reports.report import LoadTestReport, Member
from serve_deploy.repository.model_folder import ModelFolder, read_models


@pytest.fixture
def models(tmp_path: Path) -> tuple[ModelFolder, ...]:
    """A pod of two models that clients call."""
    add_model(tmp_path, "digits")
    add_model(tmp_path, "letters")
    return tuple(read_models(tmp_path))


def sweep_of(models: tuple[ModelFolder, ...], name: str) -> LoadTestReport:
    model = next(model for model in models if model.name == name)
    target = TARGET.model_copy(update={"model": name, "model_config_sha256": model.config_sha256})
    return report().model_copy(update={"target": target})


def test_a_sweep_of_one_model_is_refused_for_a_pod_of_two(models: tuple[ModelFolder, ...]) -> None:
    """The message names what was not measured; the hint says how to measure it, and how to say that it gets nothing."""
    with pytest.raises(InvalidModelError, match=r"serves 2 models, .* measured 1 of them; not letters") as refused:
        plan_traffic(models, [sweep_of(models, "digits")], None)
    assert "serve loadtest URL -m letters -c 1..64" in str(refused.value.hint)
    assert "`mix=digits=3,letters=1`" in str(refused.value.hint)


def test_all_the_requests_may_go_to_one_model(models: tuple[ModelFolder, ...]) -> None:
    """A mix that gives the other model nothing makes one sweep enough."""
    (only,) = plan_traffic(models, [sweep_of(models, "digits")], {"digits": 1})
    assert (only.share, only.share_origin) == (1.0, "`mix`: all the requests")


def test_shares_are_of_the_whole(models: tuple[ModelFolder, ...]) -> None:
    """Three to one is three quarters and a quarter; without a mix, halves that are said to be assumed."""
    reports = [sweep_of(models, name) for name in ("letters", "digits")]
    assert [each.share for each in plan_traffic(models, reports, {"digits": 3, "letters": 1})] == [0.75, 0.25]
    assumed = plan_traffic(models, reports, None)
    assert [each.share for each in assumed] == [0.5, 0.5]
    assert all(each.share_origin.startswith("assumed") for each in assumed)


@pytest.mark.parametrize(
    ("measured", "mix", "message"),
    [
        (("digits", "digits"), None, "two capacity reports measured digits"),
        (("digits", "letters"), {"digits": 1}, "gives no share to letters"),
        (("digits", "letters"), {"digits": 1, "words": 1}, "clients do not call words"),
    ],
)
def test_reports_and_shares_that_contradict_each_other(
    models: tuple[ModelFolder, ...], measured: tuple[str, ...], mix: dict[str, float] | None, message: str
) -> None:
    """Each is refused by the name of the model."""
    with pytest.raises(ServeError, match=message):
        plan_traffic(models, [sweep_of(models, name) for name in measured], mix)


def test_a_sweep_of_an_ensemble_whose_member_was_changed_since_is_refused(models: tuple[ModelFolder, ...]) -> None:
    """Its own configuration is the same, and its capacity another."""
    sweep = sweep_of(models, "digits")
    changed = Member(model="letters", model_config_sha256="b" * 64)
    target = sweep.target.model_copy(update={"members": (changed,)})
    with pytest.raises(InvalidModelError, match="measured letters with another configuration"):
        plan_traffic(models, [sweep.model_copy(update={"target": target})], {"digits": 1})


def test_a_mix_is_read() -> None:
    """Names and numbers, apart by commas."""
    assert read_mix("a=3, b=0.5") == {"a": 3, "b": 0.5}


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=x", "a=-1", "a=inf", "a=nan", "a=1,a=2", "a=0", ""])
def test_nonsense_is_no_mix(text: str) -> None:
    """A usage error quotes it."""
    with pytest.raises(UsageError, match="`mix="):
        read_mix(text)
