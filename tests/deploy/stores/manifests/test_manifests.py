"""What a store says of itself is believed only where it holds together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pushing import pull, push, tree
from repositories import add_model

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.manifests.manifests import make_snapshot, write_pointer
from serve_deploy.stores.options import SnapshotsOptions
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import StoreChangedError

PREVIOUS_LIES = '{"snapshot": "0123456789abcdef", "previous": "\\u0000"}'
Lie = Callable[[dict[str, Any]], object]


@pytest.fixture
def store(tmp_path: Path) -> StoreAddress:
    """A store with one snapshot."""
    add_model(tmp_path / "models", packaged=False)
    address = StoreAddress("local", str(tmp_path / "store"))
    push(tmp_path / "models", address)
    return address


def _resign(document: dict[str, Any]) -> None:
    """Make the digest that of the listed files."""
    files = [SnapshotFile.model_construct(**file) for file in document["files"]]
    document["sha256"] = make_snapshot(files).sha256


def _rename(path: str) -> Lie:
    def lie(document: dict[str, Any]) -> None:
        document["files"][0]["path"] = path
        _resign(document)

    return lie


LIES: dict[str, tuple[Lie, str]] = {
    "another digest": (lambda document: document.update(sha256="0" * 64), "not those that its digest"),
    "another snapshot": (lambda document: (document["files"].pop(), _resign(document)), "is the manifest of"),
    "a file's content": (lambda document: document["files"][0].update(sha256="0" * 64), "not those that its digest"),
    "no digest": (lambda document: document["files"][0].update(sha256="../../x"), "no valid sha256"),
    "a negative size": (lambda document: document["files"][0].update(size_bytes=-1), "no valid sha256 or size"),
    "an absolute path": (_rename("/etc/cron.d/serve"), "not a path inside"),
    "a path upwards": (_rename("digits/../../outside"), "not a path inside"),
    "a hidden folder": (_rename(".ssh/authorized_keys"), "hidden folder"),
    "no files": (lambda document: document.pop("files"), "not the manifest"),
    "another format": (lambda document: document.update(format=2), "not the manifest"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_manifest_that_lies_is_refused(store: StoreAddress, tmp_path: Path, name: str) -> None:
    """Nothing is written, neither where it should be nor where the lie points."""
    lie, why = LIES[name]
    path = next(Path(store.location, "snapshots").glob("*.json"))
    document = json.loads(path.read_text())
    lie(document)
    path.write_text(json.dumps(document))
    before = tree(tmp_path)
    with pytest.raises(VerificationError, match=why) as refused:
        pull(store, tmp_path / "pulled")
    assert path.name in refused.value.message
    assert tree(tmp_path) == before


def test_a_size_that_lies_is_refused(store: StoreAddress, tmp_path: Path) -> None:
    """The digest does not cover it; what arrives does."""
    path = next(Path(store.location, "snapshots").glob("*.json"))
    document = json.loads(path.read_text())
    document["files"][0]["size_bytes"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match="damaged"):
        pull(store, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("content", ["", "{", '{"snapshot": "../../x"}', PREVIOUS_LIES, '{"snapshot": 1}', "\udcff"])
def test_a_damaged_pointer_is_refused(store: StoreAddress, tmp_path: Path, content: str) -> None:
    """By a pull, a push and a list."""
    Path(store.location, "current.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    for act in (
        lambda: pull(store, tmp_path / "pulled"),
        lambda: push(tmp_path / "models", store),
        lambda: read_snapshots(SnapshotsOptions(store=store)),
    ):
        with pytest.raises(VerificationError, match=r"current\.json"):
            act()


def test_a_damaged_snapshot_is_listed_with_its_problem(store: StoreAddress, tmp_path: Path) -> None:
    """The others are listed as ever, and a push of all models needs none of it."""
    path = next(Path(store.location, "snapshots").glob("*.json"))
    path.write_text("{")
    add_model(tmp_path / "models", "letters")
    push(tmp_path / "models", store)
    problems = {each.id: bool(each.problem) for each in read_snapshots(SnapshotsOptions(store=store)).snapshots}
    assert sorted(problems.values()) == [False, True]
    assert problems[path.stem]


def test_the_loser_of_two_pushes_is_told(store: StoreAddress) -> None:
    """Which snapshot counts now, and how to make its own one current."""
    opened, before = open_store(store), None
    from serve_deploy.stores.manifests.manifests import read_pointer

    before = read_pointer(opened)
    write_pointer(opened, "1" * 16, before)
    with pytest.raises(StoreChangedError, match="1" * 16) as refused:
        write_pointer(opened, "2" * 16, before)
    assert f"serve snapshots {store} --use {'2' * 16}" in (refused.value.hint or "")


def test_naming_what_is_not_complete_is_refused(store: StoreAddress) -> None:
    """A snapshot without its manifest is none."""
    with pytest.raises(UsageError, match="no complete snapshot"):
        read_snapshots(SnapshotsOptions(store=store, use="0" * 16))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "it is missing"),
        (lambda path: path.write_bytes(b""), "it has 0 bytes"),
    ],
    ids=["removed", "cut"],
)
def test_a_snapshot_that_lost_files_is_not_made_current(
    store: StoreAddress, tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    """Somebody removed them without serve: the list says so, and the pointer stays where it is."""
    old = next(Path(store.location, "snapshots").glob("*.json")).stem
    add_model(tmp_path / "models", "letters")
    current = push(tmp_path / "models", store).snapshot
    harm(Path(store.location, "snapshots", old, "digits", "1", "model.onnx"))
    with pytest.raises(VerificationError, match=rf"{old} of .* is damaged: digits/1/model\.onnx: {said}") as refused:
        read_snapshots(SnapshotsOptions(store=store, use=old))
    assert f"serve check {store}@{old}" in str(refused.value.hint)
    listed = read_snapshots(SnapshotsOptions(store=store))
    problems = {each.id: each.problem for each in listed.snapshots}
    assert (listed.current, problems[current]) == (current, "")
    assert problems[old].startswith(f"damaged: digits/1/model.onnx: {said}")
