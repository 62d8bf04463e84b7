"""Tuning of real models on a real Triton: the best configuration follows from arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from timed_models import add_models_of_a_set, add_timed_model

from serve_deploy import TuneOptions, tune
from serve_deploy.model_config import parse_config
from serve_deploy.tuning.candidates.candidate import BATCH, INSTANCES, Candidate


def test_batches_and_instances_win_where_executions_share_a_base(tmp_path: Path) -> None:
    """3 ms + 1 ms a row: 2 rows in 5 ms are 400/s; 4 on each of two instances, in 7 ms, are 1,143/s."""
    add_timed_model(tmp_path / "models", base=0.003, row=0.001)
    result = tune(
        TuneOptions(
            repository=tmp_path / "models", runtime="embedded", state=tmp_path / "state", concurrency=8,
            max_batch_size=8, max_instances=2, max_delay_us=0, finalists=1, max_rounds=20, period_seconds=0.1,
        )
    )  # fmt: skip
    assert result.verdict == "better", result.explanation
    assert result.winner is not None
    assert result.confirmation is not None
    assert result.confirmation.gain > 0.5
    # Which of both, and how much, follows from arithmetic alone only where nothing else uses the machine.
    assert set() < {change.path for change in result.changes} <= {BATCH, INSTANCES}
    # A second instance is a further process of tens of MB.
    one, two = (each.memory_bytes or 0 for each in result.measured_settings)
    assert two - one > 10_000_000


@pytest.mark.timeout(400)
def test_a_set_with_an_ensemble_is_tuned_and_applied(tmp_path: Path) -> None:
    """Three of four requests go through both models, one to the second alone; each file has what its model won."""
    repository = add_models_of_a_set(tmp_path / "models")
    result = tune(
        TuneOptions(
            repository=repository, models=("both", "decode"), weights=(("both", 3.0),), runtime="embedded", apply=True,
            slo=("p99<500ms", "decode:p99<400ms"), state=tmp_path / "state", concurrency=8, max_batch_size=8,
            max_instances=1, max_delay_us=0, finalists=1, max_rounds=8, period_seconds=0.2,
        )
    )  # fmt: skip
    assert (result.verdict, result.applied) == ("better", True), result.explanation
    assert result.winner
    assert result.winner.measured
    assert [part.model for part in result.winner.measured.parts] == ["both", "decode"]
    assert {each.model for each in result.measured_settings} == {"encode", "decode"}
    assert result.winner.values[f"encode:{BATCH}"] > 1
    for name in ("encode", "decode"):
        text = (repository / name / "config.pbtxt").read_text()
        own = Candidate.of(result.winner.values).of_model(name)
        config = parse_config(text)
        assert (config.max_batch_size, config.instance_group[0].count) == (own[BATCH], own[INSTANCES])
        assert ("tuned, was: " in text) == any(change.path.startswith(f"{name}:") for change in result.changes)
