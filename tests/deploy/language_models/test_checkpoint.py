"""What is read of a checkpoint's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import config_file, write_safetensors

from serve_deploy.errors import InvalidModelError
from serve_deploy.language_models.checkpoint import read_checkpoint

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(config_file("llama-3.1-8b"), tmp_path)
    return tmp_path


def test_weights_are_measured_in_the_headers(folder: Path) -> None:
    """Of every file that the index names, and of no other."""
    write_safetensors(folder / "model-1-of-2.safetensors", {"model.embed_tokens.weight": 1_000, "lm_head.weight": 500})
    write_safetensors(folder / "model-2-of-2.safetensors", {"model.layers.0.mlp.up_proj.weight": 250})
    write_safetensors(folder / "consolidated.safetensors", {"tok_embeddings.weight": 9_000})
    names = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 7}, "weight_map": names}))
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.measured_bytes, checkpoint.weights_origin) == (1_750, "measured in the headers of 2 files")


def test_layers_after_the_last_are_not_counted(folder: Path) -> None:
    """They predict further tokens; DeepSeek-V3 has 14 GB of them."""
    tensors = {"model.layers.31.mlp.up_proj.weight": 300, "model.layers.32.eh_proj.weight": 40}
    write_safetensors(folder / "model.safetensors", tensors)
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.measured_bytes, checkpoint.left_out_bytes) == (300, 40)


def test_an_index_alone_says_the_total(folder: Path) -> None:
    """As it is where only the small files were downloaded."""
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 16_060_522_496}, "weight_map": {"a": "x"}}))
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.measured_bytes, checkpoint.weights_origin) == (16_060_522_496, f"total_size in {INDEX}")


def test_without_weights_nothing_is_measured(folder: Path) -> None:
    """Then the size is computed."""
    assert read_checkpoint(folder).measured_bytes is None


def test_a_download_that_is_not_finished_is_refused(folder: Path) -> None:
    """Where some files are here, and others not."""
    write_safetensors(folder / "a.safetensors", {"lm_head.weight": 1})
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    with pytest.raises(InvalidModelError, match=r"1 of 2 weights' files; b\.safetensors is missing"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs", (5).to_bytes(8, "little") + b'{"a":', b"\xff" * 64]
)
def test_a_file_that_is_no_safetensors_is_refused(folder: Path, content: bytes) -> None:
    """A pointer of Git LFS, or a download that was cut."""
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidModelError, match="not a whole safetensors file"):
        read_checkpoint(folder)


def test_a_file_that_is_cut_after_its_header_is_refused(folder: Path) -> None:
    """Its offsets lead beyond its end."""
    file = folder / "model.safetensors"
    write_safetensors(file, {"lm_head.weight": 1_000})
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1)
    with pytest.raises(InvalidModelError, match="not a whole safetensors file"):
        read_checkpoint(folder)


@pytest.mark.parametrize(("content", "words"), [(b"{", "is not JSON"), (b"[]", "not a JSON object")])
def test_a_broken_configuration_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """With the file's name."""
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InvalidModelError, match=words):
        read_checkpoint(tmp_path)


def test_a_folder_without_a_configuration_is_no_checkpoint(tmp_path: Path) -> None:
    """It says what was looked for."""
    with pytest.raises(InvalidModelError, match=r"has no config\.json"):
        read_checkpoint(tmp_path)
