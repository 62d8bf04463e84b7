"""Snapshots as folders of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pushing import listing, push
from repositories import add_ensemble, add_model

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests.manifests import EmptyStoreError
from serve_deploy.stores.pull.cache import pull_into_cache, pull_models_into_cache


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of two models."""
    add_model(tmp_path / "models", "digits")
    add_model(tmp_path / "models", "letters", config="instance_group { count: 2 }", packaged=False)
    return tmp_path / "models"


@pytest.fixture
def store(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    """A store with both models, and an empty cache."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache"))
    address = StoreAddress("local", str(tmp_path / "store"))
    push(models, address)
    return address


def test_an_ensemble_is_received_with_its_members_and_nothing_else(models: Path, store: StoreAddress) -> None:
    """What is needed to run it; an unknown name is refused."""
    add_ensemble(models, "both", "letters")
    push(models, store)
    folder = pull_models_into_cache(store, ["both"])
    assert sorted(path.name for path in folder.iterdir()) == ["both", "letters"]
    with pytest.raises(UsageError, match="has no model 'forest'"):
        pull_models_into_cache(store, ["forest"])


def test_a_cache_may_be_called_like_a_snapshot(
    store: StoreAddress, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands after an @ is part of its name."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache@2026"))
    assert listing(pull_into_cache(store)) == listing(models)
    assert not (tmp_path / "cache").exists()


def test_a_snapshot_is_received_once(store: StoreAddress, models: Path) -> None:
    """The folder is a whole repository; the next one who asks gets it without a file being sent."""
    folder = pull_into_cache(store)
    assert listing(folder) == listing(models)
    shutil.rmtree(Path(store.location, "snapshots", folder.name))
    assert pull_into_cache(store) == folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_cache_that_cannot_be_written_to_serves_what_it_has(
    store: StoreAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a cache, without its empty folders, on a volume of another user."""
    with TemporaryDirectory(dir="/tmp") as name:  # the tests' own folders are closed to others
        shared = Path(name)
        shared.chmod(0o755)
        shutil.copytree(store.location, shared / "store")
        there = StoreAddress("local", str(shared / "store"))
        monkeypatch.setenv("SERVE_CACHE", str(shared / "cache"))
        first = pull_into_cache(there)
        shutil.rmtree(shared / "cache" / "holds")
        os.seteuid(65534)
        try:
            again = pull_into_cache(there)
        finally:
            os.seteuid(0)
        assert again == first


def test_a_folder_that_lost_a_file_is_completed(store: StoreAddress, models: Path) -> None:
    """Somebody cleaned up."""
    folder = pull_into_cache(store)
    (folder / "digits" / "config.pbtxt").unlink()
    assert listing(pull_into_cache(store)) == listing(models)


def test_what_other_snapshots_have_is_not_received_again(store: StoreAddress, models: Path) -> None:
    """It is copied: the store's own file could not be read."""
    pull_into_cache(store)
    config = models / "letters" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed")
    second = push(models, store).snapshot
    Path(store.location, "snapshots", second, "digits", "1", "model.onnx").write_bytes(b"damaged")
    assert listing(pull_into_cache(store)) == listing(models)


def test_some_models_are_a_folder_of_their_own(store: StoreAddress) -> None:
    """Names that the snapshot does not have are left out."""
    folder = pull_into_cache(store, models=("letters", "unheard_of"))
    assert [path.name for path in folder.iterdir()] == ["letters"]
    assert folder != pull_into_cache(store)


def test_a_damaged_file_is_no_cached_snapshot(store: StoreAddress) -> None:
    """The next attempt asks the store again."""
    file = next(Path(store.location, "snapshots").glob("*/digits/1/model.onnx"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    with pytest.raises(VerificationError, match=r"digits/1/model\.onnx"):
        pull_into_cache(store)
    file.write_bytes(whole)
    assert pull_into_cache(store).is_dir()


def test_two_runs_at_once_get_the_same_folder(store: StoreAddress, models: Path) -> None:
    """Each whole."""
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(pull_into_cache(store))) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert listing(found[0]) == listing(models)


@contextmanager
def _using(*stores: StoreAddress) -> Iterator[list[Path]]:
    """Another process that lives as long as the block, and the folders that it uses."""
    code = """if True:
        import sys
        from serve_deploy.stores.address import parse_address
        from serve_deploy.stores.pull.cache import pull_into_cache
        for address in sys.argv[1:]:
            print(pull_into_cache(parse_address(address)), flush=True)
        sys.stdin.read()
    """
    line = [sys.executable, "-c", code, *map(str, stores)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [Path(process.stdout.readline().strip()) for _store in stores]


def _push_changed(models: Path, store: StoreAddress, word: str) -> StoreAddress:
    """The address of a snapshot that no other test has."""
    with (models / "letters" / "config.pbtxt").open("a") as config:
        config.write(f"# {word}\n")
    return replace(store, snapshot=push(models, store).snapshot)


def test_what_nobody_asked_for_in_a_month_goes(store: StoreAddress, models: Path) -> None:
    """When another snapshot is received."""
    with _using(store) as (first,):
        pass
    os.utime(first.with_suffix(".json"), (0, 0))
    pull_into_cache(_push_changed(models, store, "second"))
    assert not first.exists()


def test_what_was_used_longest_ago_makes_room(
    store: StoreAddress, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much as has to go, and no more."""
    stores = [_push_changed(models, store, word) for word in ("a", "b", "c")]
    with _using(*stores) as folders:
        pass
    for age, folder in zip((3, 9, 6), folders, strict=True):
        os.utime(folder.with_suffix(".json"), (time.time() - age * 3600,) * 2)
    size = sum(path.stat().st_size for path in folders[0].parent.rglob("*") if path.is_file())
    # The fourth is larger by a line.
    monkeypatch.setenv("SERVE_CACHE_GB", str((size + 1000) / 2**30))
    newest = pull_into_cache(_push_changed(models, store, "d"))
    assert {path for path in newest.parent.iterdir() if path.is_dir()} == {folders[0], folders[2], newest}
    assert not folders[1].with_suffix(".json").exists()


def test_what_a_living_process_uses_stays(store: StoreAddress, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However full the cache is, and however long ago it was received; with the process it loses its hold."""
    monkeypatch.setenv("SERVE_CACHE_GB", "0")
    with _using(store) as (first,):
        os.utime(first.with_suffix(".json"), (0, 0))
        second = pull_into_cache(_push_changed(models, store, "second"))
        assert listing(first) != {}
    pull_into_cache(_push_changed(models, store, "third"))
    assert (first.exists(), second.exists()) == (False, True)


@pytest.mark.parametrize("size", ["much", "-1", "inf", "nan"])
def test_a_bound_that_is_no_size_is_refused(store: StoreAddress, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    """Before anything is received."""
    monkeypatch.setenv("SERVE_CACHE_GB", size)
    with pytest.raises(UsageError, match=f"SERVE_CACHE_GB={size} is not a size"):
        pull_into_cache(store)


def test_an_empty_store_is_told_apart(store: StoreAddress, tmp_path: Path) -> None:
    """Nothing was pushed there yet."""
    with pytest.raises(EmptyStoreError):
        pull_into_cache(replace(store, location=str(tmp_path / "empty")))
