"""manifest.json, as every other command reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from repositories import make_manifest

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof, read_manifest


def test_a_manifest_of_a_newer_serve_is_read(tmp_path: Path) -> None:
    """Keys that this version does not know are ignored, at any depth."""
    written = make_manifest("m")
    document = json.loads(written.model_dump_json())
    document["added_later"] = document["inputs"][0]["added_later"] = 1
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    assert read_manifest(tmp_path) == written


def test_tensors_keep_their_form_in_the_file() -> None:
    """Their type is its name on the wire."""
    assert json.loads(make_manifest("m").model_dump_json())["inputs"] == [
        {"name": "image", "data_type": "FP32", "shape": [-1, 1, 8, 8], "optional": False}
    ]


@pytest.mark.parametrize("content", [b"{}", b"not JSON", b"\xff"])
def test_what_is_no_manifest_is_an_invalid_model(tmp_path: Path, content: bytes) -> None:
    """The error names the file, and the hint says what to do with it."""
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"manifest\.json") as refused:
        read_manifest(tmp_path)
    assert "delete the file" in str(refused.value.hint)


def test_reads_a_proof_of_an_older_serve() -> None:
    """Which knew of no graph, and did not list what it left out."""
    proof = BatchingProof.model_validate(
        {"verdict": "batchable", "max_batch_size": 8, "evidence": "rows equal", "batch_sizes": [1, 2, 3, 8]}
    )
    assert (proof.sizes_run, proof.sizes_not_run, proof.graph, proof.next_step) == ("1 to 3, 8", "", None, None)
