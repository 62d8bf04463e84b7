"""What tuning leaves out and refuses, on a real Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from timed_models import add_timed_model

from serve_deploy import InvalidModelError, TuneOptions, TuningResult, UsageError, tune


def _tune(repository: Path, state: Path, **options: Any) -> TuningResult:
    """A short tuning, of few candidates."""
    small = {
        "concurrency": 8, "max_batch_size": 8, "max_instances": 2, "max_delay_us": 0, "finalists": 1, "max_rounds": 20,
        "period_seconds": 0.1,
    }  # fmt: skip
    return tune(TuneOptions(repository=repository, runtime="embedded", state=state, **{**small, **options}))


def test_a_candidate_with_other_answers_is_out(tmp_path: Path) -> None:
    """A model that answers otherwise with a larger max_batch_size keeps the one that it has."""
    add_timed_model(tmp_path / "models", base=0.005, row=0.0, added=1.0)
    result = _tune(tmp_path / "models", tmp_path / "state", max_instances=1)
    assert any("its answers differ" in each.reason for each in result.failed)
    assert result.winner is None


def test_which_model_has_to_be_said(tmp_path: Path) -> None:
    """Where the repository has several."""
    for name in ("a", "b"):
        add_timed_model(tmp_path, name, base=0.0, row=0.0)
    with pytest.raises(UsageError, match="has several models: a, b"):
        _tune(tmp_path, tmp_path / "state")


def test_a_model_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    """The baseline has to run before anything can be better."""
    folder = add_timed_model(tmp_path / "models", base=0.005, row=0.0)
    (folder / "1" / "model.py").write_text("nonsense")
    with pytest.raises(InvalidModelError, match="does not load as its file says"):
        _tune(tmp_path / "models", tmp_path / "state")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("max_batch_size: 4 sequence_batching { }", "keeps state"),
        ("max_batch_size: 4 model_transaction_policy { decoupled: true }", "decoupled"),
    ],
)
def test_what_cannot_be_tuned_is_refused(tmp_path: Path, config: str, reason: str) -> None:
    """Before any server starts, with the reason."""
    add_timed_model(tmp_path, base=0.0, row=0.0, config=config)
    with pytest.raises(UsageError, match=reason):
        _tune(tmp_path, tmp_path / "state")
