"""The cold start is measured: a real Triton is started on the models once, and asked."""

from __future__ import annotations

import itertools
from pathlib import Path

from repositories import add_ensemble, add_model

from serve_deploy.planning.cold_start import find_cold_start, measure_start
from serve_deploy.repository.model_folder import read_models


def test_a_start_is_timed_until_every_model_has_answered(tmp_path: Path) -> None:
    """Start, readiness and first answers, in this order; what clients call is asked, and members are not."""
    add_model(tmp_path / "models")
    add_ensemble(tmp_path / "models", "pipeline", "digits")
    models, told = read_models(tmp_path / "models"), list[str]()
    ticks = itertools.count(0.0, 5.0)
    started = measure_start(tmp_path / "models", models, told.append, clock=lambda: next(ticks))
    assert (started.ready_seconds, started.answered_seconds, started.unanswered) == (5.0, 10.0, ())
    assert told[0].startswith("starting Triton")
    assert told[-1] == "waiting for the first answers"
    cold = find_cold_start(models, None, started, gpu=False)
    assert cold.measured_seconds == 10.0
    assert cold.seconds == 130
    assert "node and image 120 (assumed) + start to first answer 10.0 (measured here, " in cold.origin
