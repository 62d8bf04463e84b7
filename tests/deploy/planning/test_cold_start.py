"""What a cold start is made of: your figure, or a measured start and assumptions, each by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import add_model

from serve_deploy.planning.cold_start import MeasuredStart, find_cold_start
from serve_deploy.repository.model_folder import ModelFolder, read_models

STARTED = MeasuredStart(1.0, 2.25, "embedded Triton 2.51.0")


@pytest.fixture
def models(tmp_path: Path) -> tuple[ModelFolder, ...]:
    add_model(tmp_path / "models")
    return read_models(tmp_path / "models")


def test_your_own_figure_counts(models: tuple[ModelFolder, ...]) -> None:
    """Whatever a start here took."""
    cold = find_cold_start(models, 45.0, STARTED, gpu=True)
    assert (cold.seconds, cold.measured_seconds, cold.origin) == (45.0, None, "`cold_start_seconds`")


def test_a_start_here_takes_the_place_of_the_manifests(models: tuple[ModelFolder, ...]) -> None:
    """The node is assumed, 300 s for one with a GPU; the rest is 2.25 s that were measured, rounded up in all."""
    cold = find_cold_start(models, None, STARTED, gpu=True)
    assert (cold.seconds, cold.measured_seconds) == (303, 2.25)
    assert "start to first answer 2.2 (measured here, embedded Triton 2.51.0)" in cold.origin


def test_a_model_that_was_not_asked_ends_the_measurement_at_readiness(models: tuple[ModelFolder, ...]) -> None:
    """The line says up to where it was measured."""
    started = MeasuredStart(1.0, 2.0, "embedded Triton 2.51.0", ("llm was not asked for a first answer: it streams",))
    assert "start to ready 1.0 (measured here" in find_cold_start(models, None, started, gpu=False).origin


def test_nothing_known_is_all_assumed() -> None:
    """Without models there is nothing to start, and the line says what would measure it."""
    cold = find_cold_start((), None, None, gpu=False)
    assert (cold.seconds, cold.measured_seconds) == (120.0, None)
    assert cold.origin.startswith("assumed: give `repository`")
