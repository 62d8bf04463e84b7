"""Commands that are given a store where they take a repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_registry import running_docker_registry
from pushing import push
from repositories import add_model
from typer.testing import CliRunner

from serve_cli.app import app
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import find_snapshot


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    """A local store with one model, and a cache of this test's own."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache"))
    address = StoreAddress("local", str(tmp_path / "store"))
    add_model(tmp_path / "models", "digits")
    push(tmp_path / "models", address)
    return address


def _run(*line: str) -> tuple[str, int]:
    """What a command says, or why it ends."""
    result = CliRunner().invoke(app, line)
    return str(getattr(result.exception, "message", result.output)), int(getattr(result.exception, "exit_code", 0))


def test_check_says_what_was_compared(store: StoreAddress) -> None:
    """In words, and as JSON."""
    said, code = _run("check", str(store))
    assert "4 files are as they were pushed, by their content" in said
    assert code == 0
    assert '"compared": "content"' in _run("check", str(store), "--json")[0]


def test_check_claims_no_more_of_an_image_than_it_looked_at(store: StoreAddress, tmp_path: Path) -> None:
    """Layers are there, and of the right size; of one that is gone nothing is said but that."""
    with running_docker_registry(tmp_path / "registry") as registry:
        image = StoreAddress("oci", f"{registry.host}/models", snapshot="v1")
        push(tmp_path / "models", image)
        said, code = _run("check", str(image))
        assert "4 files are in layers of the right size; a registry compares digests when it is pushed to" in said
        assert ("as they were pushed" in said, code) == (False, 0)
        largest = max(registry.folder.rglob("blobs/sha256/*/*/data"), key=lambda path: path.stat().st_size)
        largest.unlink()
        said, code = _run("check", str(image))
        assert (said.startswith("1 part of snapshot "), code) == (True, 8)


def test_check_ends_with_8_where_files_are_damaged(store: StoreAddress) -> None:
    """Each problem is named before."""
    next(Path(store.location).rglob("samples.npz")).unlink()
    assert _run("check", str(store)) == (
        f"1 file of snapshot {find_snapshot(open_store(store), None).id} failed the check",
        8,
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["loadtest", "http://127.0.0.1:1", "-m", "x", "--data", "s3://bucket/data"], "is not on this machine"),
        (["chart", "{models}", "--require-signature", "key.pem"], "is for stores"),
        (["chart", "{models}", "--source", "pvc://a/b", "--require-signature", "key.pem"], "is for stores"),
        (["chart", "{store}", "--require-signature", "key.pem"], "key.pem"),
        (["check", "{models}", "--require-signature", "key.pem"], "is for stores"),
        (["run", "{store}@0123"], "no snapshot that begins with 0123"),
        (["run", "{store}@{id}", "--watch"], "names a snapshot, which never changes"),
    ],
)
def test_where_an_address_makes_no_sense_it_is_refused(
    store: StoreAddress, tmp_path: Path, line: list[str], words: str
) -> None:
    """In words, with what to do instead."""
    names = {"store": str(store), "models": str(tmp_path / "models"), "id": find_snapshot(open_store(store), None).id}
    assert words in _run(*(part.format(**names) for part in line))[0]


def test_what_options_refuse_is_refused_before_a_store_is_asked() -> None:
    """This store does not answer: nobody waits for it, or for gigabytes of models, to read of a flag."""
    store = "s3://http://127.0.0.1:1/bucket/models"
    assert _run("tune", store, "--apply") == (f"`apply` writes into a folder, and {store} is a store", 2)
    assert _run("run", f"{store}@0123", "--watch") == (f"{store}@0123 names a snapshot, which never changes", 2)
    assert _run("run", store, "--", "--model-control-mode=poll")[1] == 2
