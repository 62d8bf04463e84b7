"""Class labels found in a model's metadata."""

from __future__ import annotations

import json

import pytest

from serve_deploy.packaging.labels import LABELS_KEY, find_labels
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
