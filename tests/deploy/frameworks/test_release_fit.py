"""Which releases serve which artefacts, and what is said where that is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from framework_artefacts import MODELS, PLAN

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact
from serve_deploy.frameworks.kinds import read_artefact
from serve_deploy.frameworks.release_fit import check_fit, tensorrt_of


@pytest.fixture
def plan(tmp_path: Path) -> Artefact:
    path = tmp_path / "model.plan"
    path.write_bytes(PLAN)
    return read_artefact(path, {})


@pytest.mark.parametrize(
    ("name", "last_that_does_not", "first_that_does"),
    [
        ("xgboost_binary.ubj", "24.09", "24.10"),
        ("treelite_binary.tl", "24.02", "24.03"),
        ("compiled.pt2", "26.02", "26.03"),
    ],
)
def test_a_release_that_is_too_old_is_refused(name: str, last_that_does_not: str, first_that_does: str) -> None:
    """The hint names the first that serves it."""
    artefact = read_artefact(MODELS / name, {})
    check_fit(artefact, first_that_does)
    with pytest.raises(InvalidModelError) as refused:
        check_fit(artefact, last_that_does_not)
    assert f"`release={first_that_does}`" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("name", "version", "release", "said"),
    [
        ("xgboost_binary.json", "2.0.3", "26.07", ""),
        ("xgboost_binary.json", "1.6.2", "26.07", "NVIDIA lists JSON of XGBoost from 1.7 on, and this is of 1.6.2"),
        ("xgboost_binary.json", "2.0.3", "24.02", "NVIDIA lists JSON of XGBoost before 1.7, and this is of 2.0.3"),
        ("xgboost_binary.json", "1.6.2", "24.02", ""),
        ("xgboost_binary.ubj", "2.1.0", "24.10", ""),
        ("xgboost_binary.ubj", "1.7.6", "24.10", "NVIDIA lists UBJSON from XGBoost 2.1 on, and this is of 1.7.6"),
        ("xgboost_binary.ubj", "3.2.0", "24.10", "XGBoost 3.2.0 writes base_score as a list"),
    ],
)
def test_versions_of_xgboost_that_are_not_listed_are_noted(name: str, version: str, release: str, said: str) -> None:
    """They may load all the same."""
    notes = check_fit(replace(read_artefact(MODELS / name, {}), version=version), release)
    assert len(notes) == bool(said)
    assert said in "".join(notes)


def test_tensorflow_is_refused_after_its_last_release() -> None:
    """ONNX is the way out of it."""
    artefact = read_artefact(MODELS / "scorer.savedmodel", {})
    assert check_fit(artefact, "25.02") == ("Triton 25.02 is the last release with TensorFlow's backend",)
    with pytest.raises(InvalidModelError) as refused:
        check_fit(artefact, "25.03")
    assert "tf2onnx" in (refused.value.hint or "")


def test_a_plan_needs_the_tensorrt_that_built_it(plan: Artefact) -> None:
    """Another minor version may do, where the plan was built for that; another major one never does."""
    assert check_fit(plan, "25.10") == ()
    (note,) = check_fit(plan, "25.11")
    assert "Triton 25.11 has 10.14.1: it loads only if it was built version-compatible" in note
    with pytest.raises(InvalidModelError) as refused:
        check_fit(plan, "24.04")
    assert "was built by TensorRT 10.13.3.9, and Triton 24.04 has 8.6.3" in refused.value.message
    assert "`release=26.04`" in (refused.value.hint or "")


@pytest.mark.parametrize(("version", "release"), [("10.13.3.9", "26.07"), ("10.13.3.9", "24.03"), (None, "25.10")])
def test_what_is_not_known_of_a_plan_is_said(plan: Artefact, version: str | None, release: str) -> None:
    """No release is refused for it."""
    (note,) = check_fit(replace(plan, version=version), release)
    assert "is not known here" in note or "tells no TensorRT version" in note


@pytest.mark.parametrize(
    ("release", "version"),
    [("24.03", None), ("24.04", "8.6.3"), ("24.12", "10.6.0"), ("26.05", "10.16.1"), ("26.06", None)],
)
def test_the_tensorrt_of_a_release_is_known_within_bounds(release: str, version: str | None) -> None:
    """Before and after them nothing is guessed."""
    assert tensorrt_of(release) == version
