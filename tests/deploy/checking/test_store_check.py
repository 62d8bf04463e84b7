"""A store's files against its snapshot, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pushing import push
from repositories import add_model

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import check_repository
from serve_deploy.checking.store_check import StoreCheck, check_store
from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress


@pytest.fixture(params=["snapshots", "fixed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    """A local store with one model, in either layout."""
    add_model(tmp_path / "models", "digits")
    address = StoreAddress("local", str(tmp_path / "store"))
    push(tmp_path / "models", address, fixed=request.param == "fixed")
    return address


@pytest.fixture
def model(store: StoreAddress) -> Path:
    """Where the model's folder stands in the store."""
    return next(Path(store.location).rglob("digits"))


def _check(store: StoreAddress, *, download: bool = False) -> StoreCheck:
    return check_store(CheckOptions(repository=store, download=download, load=False))


def _said(checked: StoreCheck) -> dict[str, str]:
    return {problem.path: problem.message for problem in checked.problems}


@pytest.mark.parametrize("download", [False, True])
def test_a_store_as_it_was_pushed_has_no_problem(store: StoreAddress, download: bool) -> None:
    """A local one is compared by content, downloaded or not."""
    checked = _check(store, download=download)
    assert (checked.problems, checked.unverified, checked.compared) == ((), (), "content")
    assert (checked.models, checked.files) == (("digits",), 4)


def test_with_a_download_the_models_are_checked_too(store: StoreAddress) -> None:
    """By the rules for any repository, whose name is the store's."""
    repository = _check(store, download=True).repository
    assert repository is not None
    assert (repository.repository, [each.name for each in repository.models]) == (str(store), ["digits"])


@pytest.mark.parametrize("download", [False, True])
def test_content_that_changed_at_the_same_size_is_found(store: StoreAddress, model: Path, download: bool) -> None:
    """As a failing disk changes it."""
    file = model / "1" / "model.onnx"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    checked = _check(store, download=download)
    assert list(_said(checked)) == ["digits/1/model.onnx"]
    assert "its content is not what was pushed" in _said(checked)["digits/1/model.onnx"]
    assert checked.repository is None


def test_files_that_are_missing_short_or_extra_are_named(store: StoreAddress, model: Path) -> None:
    """Each with what is wrong."""
    (model / "samples.npz").unlink()
    (model / "config.pbtxt").write_text("")
    (model / "2").mkdir()
    (model / "2" / "model.onnx").touch()
    said = _said(_check(store))
    assert sorted(said) == ["digits/2/model.onnx", "digits/config.pbtxt", "digits/samples.npz"]
    assert said["digits/samples.npz"] == "it is missing"
    assert "it has 0 bytes" in said["digits/config.pbtxt"]


def test_a_manifest_that_was_edited_is_refused(store: StoreAddress) -> None:
    """Nothing can be compared with it."""
    files = [path for path in Path(store.location).rglob("*.json") if '"sha256"' in path.read_text()]
    manifest = next(path for path in files if path.name != "manifest.json")
    manifest.write_text(manifest.read_text().replace("digits/1/", "digits/7/"))
    with pytest.raises(VerificationError, match="is damaged"):
        _check(store)


@pytest.mark.parametrize("given", [{"download": True}, {"url": "http://localhost:8000"}])
def test_what_is_for_stores_is_refused_for_a_folder(tmp_path: Path, given: dict[str, object]) -> None:
    """With the command that compares a folder with a server."""
    with pytest.raises(UsageError, match="is for stores") as caught:
        check_repository(CheckOptions(repository=tmp_path, **given))
    assert "serve diff" in (caught.value.hint or "")
