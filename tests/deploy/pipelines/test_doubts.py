"""What fits by type and shape, and is wrong all the same, is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import serve_deploy as serve

_DIGITS = Path(__file__).parents[3] / "examples" / "digits"


@pytest.mark.parametrize(("activation", "is_doubted"), [("softmax", True), ("none", False)])
def test_probabilities_that_are_made_probabilities_again_are_doubted(
    tmp_path: Path, activation: str, is_doubted: bool
) -> None:
    """The digits model returns probabilities, as the samples show."""
    file = tmp_path / "digits.yaml"
    file.write_text(
        f"steps:\n  classifier: {{model: {_DIGITS / 'digits.onnx'}, samples: {_DIGITS / 'samples.npz'}}}\n"
        f"  best: {{standard: top_k, k: 3, activation: {activation}}}\n"
    )
    written = serve.pipeline(serve.PipelineOptions(file=file, repository=tmp_path / "models", verify=False))
    doubts = [note for note in written.notes if note.startswith("step 'best': its inputs are probabilities already")]
    assert bool(doubts) is is_doubted
