"""Class labels found in a model's metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.packaging.labels import LABELS_KEY, choose_labels, find_labels
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

SCORES = ModelSignature((), (TensorSpec("scores", DataType.FP32, (-1, 3)),))


@pytest.mark.parametrize(
    "metadata",
    [
        {"names": "{0: 'cat', 1: 'dog', 2: 'owl'}"},
        {"labels": '["cat", "dog", "owl"]'},
        {"id2label": '{"1": "dog", "0": "cat", "2": "owl"}'},
        {"classes": "cat,dog,owl"},
        {"class_names": "cat\ndog\nowl\n"},
        {LABELS_KEY: json.dumps({"scores": ["cat", "dog", "owl"]})},
    ],
)
def test_reads_labels_as_exporters_write_them(metadata: dict[str, str]) -> None:
    """JSON, Python literals and plain lists, by index where they are mappings."""
    assert find_labels(metadata, SCORES) == {"scores": ("cat", "dog", "owl")}


@pytest.mark.parametrize(
    "metadata",
    [{}, {"names": "{0: 'cat', 1: 'dog'}"}, {"names": "{broken"}, {"labels": "{'a': 1}"}, {LABELS_KEY: "[1]"}],
)
def test_takes_no_labels_that_do_not_fit(metadata: dict[str, str]) -> None:
    """As many labels as the output has scores, or none."""
    assert find_labels(metadata, SCORES) == {}


def test_each_output_can_be_given_its_labels(tmp_path: Path) -> None:
    """A file for each; two for the same one are refused, whichever way they are given."""
    both = ModelSignature((), (*SCORES.outputs, TensorSpec("sizes", DataType.FP32, (-1, 2))))
    (tmp_path / "animals").write_text("cat\ndog\nowl\n")
    (tmp_path / "sizes").write_text("small\nlarge\n")
    animals, sizes = str(tmp_path / "animals"), f"sizes={tmp_path / 'sizes'}"
    assert choose_labels((animals, sizes), {}, both) == {"scores": ("cat", "dog", "owl"), "sizes": ("small", "large")}
    with pytest.raises(UsageError, match="two files are for output 'scores'"):
        choose_labels((animals, f"scores={animals}"), {}, both)
