"""A model's folder, as every command reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import add_ensemble, add_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.repository.model_folder import find_newer_models, read_model_folder, read_models


def test_only_numbers_without_leading_zero_are_versions(tmp_path: Path) -> None:
    """As Triton reads them."""
    for name in ("1", "10", "02", "warmup", "1a"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").write_text("a file")
    assert read_model_folder(tmp_path).versions == (1, 10)


def test_what_cannot_be_read_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    """A broken configuration or manifest hides neither the versions nor the files."""
    path = add_model(tmp_path)
    (path / "config.pbtxt").write_text("input {")
    (path / "manifest.json").write_text("{}")
    folder = read_model_folder(path)
    assert sorted(folder.errors) == ["config.pbtxt", "manifest.json"]
    assert (folder.versions, folder.onnx_files) == ((1,), (path / "1" / "model.onnx",))
    with pytest.raises(InvalidModelError, match=r"config\.pbtxt: 1:"):
        read_models(tmp_path)


def test_the_configuration_names_the_models_file(tmp_path: Path) -> None:
    """default_model_filename goes before what the backend calls it; an ensemble has no file."""
    path = add_model(tmp_path, config='default_model_filename: "net.onnx"')
    assert read_model_folder(path).missing_files == (1,)
    (path / "1" / "model.onnx").rename(path / "1" / "net.onnx")
    assert read_model_folder(path).onnx_files == (path / "1" / "net.onnx",)
    ensemble = read_model_folder(add_ensemble(tmp_path, "pipeline", "digits"))
    assert (ensemble.file_name, ensemble.members, ensemble.missing_files) == ("", ("digits",), ())


def test_a_model_with_external_data_is_found_in_its_folder(tmp_path: Path) -> None:
    """Triton then wants model.onnx to be a folder that has the file and its data."""
    version = add_model(tmp_path) / "1"
    (version / "model.onnx").rename(version / "moved")
    (version / "model.onnx").mkdir()
    (version / "moved").rename(version / "model.onnx" / "model.onnx")
    assert read_model_folder(version.parent).onnx_files == (version / "model.onnx" / "model.onnx",)
    assert list(find_newer_models(tmp_path, "23.01")) == []


def test_what_is_deployed_is_all_but_the_manifest_and_the_samples(tmp_path: Path) -> None:
    """Triton needs neither of them."""
    folder = read_model_folder(add_model(tmp_path))
    assert sorted(folder.files) == ["1/model.onnx", "config.pbtxt"]
    assert folder.samples == folder.path / "samples.npz"
