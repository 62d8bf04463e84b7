"""The cold start is measured: a real Triton is started on the models once, and asked."""

from __future__ import annotations

import itertools
from pathlib import Path

from repositories import add_ensemble, add_model
from sweeps import TARGET, report

from serve_deploy.planning.cold_start import find_cold_start, measure_start
from serve_deploy.planning.options import PlanOptions, ProfileSweep
from serve_deploy.planning.plan import plan
from serve_deploy.repository.model_folder import read_models


def test_a_start_is_timed_until_every_model_has_answered(tmp_path: Path) -> None:
    """Start, readiness and first answers, in this order; what clients call is asked, and members are not."""
    add_model(tmp_path / "models")
    add_ensemble(tmp_path / "models", "pipeline", "digits")
    models, told = read_models(tmp_path / "models"), list[str]()
    ticks = itertools.count(0.0, 5.0)
    started = measure_start(tmp_path / "models", models, progress=told.append, clock=lambda: next(ticks))
    assert (started.ready_seconds, started.answered_seconds, started.unanswered) == (5.0, 10.0, ())
    assert told[0].startswith("starting Triton")
    assert told[-1] == "waiting for the first answers"
    cold = find_cold_start(models, None, started, gpu=False)
    assert cold.measured_seconds == 10.0
    assert cold.seconds == 130
    assert "node and image 120 (assumed) + start to first answer 10.0 (measured here, " in cold.origin


def test_models_that_do_not_start_here_are_planned_with_a_note(tmp_path: Path) -> None:
    """The manifest's loading time counts then, and the note says what Triton said and how to do better."""
    folder = add_model(tmp_path / "models")
    (folder / "1" / "model.onnx").write_bytes(b"no model")
    (model,) = read_models(tmp_path / "models")
    target = TARGET.model_copy(update={"model_config_sha256": model.config_sha256})
    sweep = ProfileSweep("cpu", report().model_copy(update={"target": target}))
    options = PlanOptions(
        sweeps=(sweep,), base_rate=100, peak_rate=100, slo=("p99<50ms",), repository=tmp_path / "models",
        runtime="embedded",
    )  # fmt: skip
    found = plan(options)
    cold = found.profiles[0].cold_start
    assert (cold.seconds, cold.measured_seconds) == (121, None)
    assert "load 0.5 (manifests)" in cold.origin
    assert found.notes[0].startswith("the start could not be measured here: Triton loaded no model")
    assert "`cold_start_seconds`" in found.notes[0]
