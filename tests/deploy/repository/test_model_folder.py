"""A model's folder, as every command reads it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from batching_models import parse_graph
from repositories import add_ensemble, add_model

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.repository.model_folder import find_newer_models, read_model_folder, read_models, require_repository


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


def test_a_models_own_folder_is_no_repository(tmp_path: Path) -> None:
    """The folder around it is named; one with models and a stray configuration is a repository."""
    path = add_model(tmp_path)
    with pytest.raises(UsageError, match="is a model's folder") as refusal:
        read_models(path)
    assert refusal.value.hint == f"name the folder around it: {tmp_path}"
    (tmp_path / "config.pbtxt").write_text("")
    require_repository(tmp_path)


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


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", (3,)),
        ("version_policy { all {} }", (1, 2, 3)),
        ("version_policy { latest { num_versions: 2 } }", (2, 3)),
        ("version_policy { specific { versions: [1, 7] } }", (1,)),
    ],
)
def test_the_policy_says_which_versions_are_served(tmp_path: Path, policy: str, served: tuple[int, ...]) -> None:
    """The newest alone where there is no policy."""
    path = add_model(tmp_path, config=policy)
    for version in ("2", "3"):
        (path / version).mkdir()
    assert read_model_folder(path).served_versions == served


def test_a_locale_that_a_model_needs_is_known_from_its_file(tmp_path: Path) -> None:
    """Without a manifest, and without parsing models that do not mention the operator."""
    path = add_model(tmp_path)
    assert read_model_folder(path).needs == ()
    onnx.save(parse_graph("(string[N] x) => (string[N] y) { y = StringNormalizer(x) }"), path / "1" / "model.onnx")
    assert "en_US.UTF-8" in read_model_folder(path).needs[0]


def test_what_is_deployed_is_all_but_the_manifest_and_the_samples(tmp_path: Path) -> None:
    """Triton needs neither of them."""
    folder = read_model_folder(add_model(tmp_path))
    assert sorted(folder.files) == ["1/model.onnx", "config.pbtxt"]
    assert folder.samples == folder.path / "samples.npz"
