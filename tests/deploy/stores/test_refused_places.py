"""Places that cannot be written: said in words, and what was there stays as it was."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pushing import actions, listing, pull, push, tree
from repositories import add_model

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.pull.cache import pull_into_cache

SMALL, LARGE = "size=1m", "size=8m"
Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a file system in memory, or the same one again with other options."""
    with ExitStack() as mounted:

        def mount(name: str, options: str) -> Path:
            folder = tmp_path / name
            again = folder.is_dir()
            folder.mkdir(exist_ok=True)
            options = f"remount,{options}" if again else options
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("file systems cannot be mounted here")
            if not again:
                mounted.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            return folder

        yield mount


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of 2 MB."""
    folder = add_model(tmp_path / "models", packaged=False)
    (folder / "1" / "weights.bin").write_bytes(random.Random(1).randbytes(2 << 20))
    return tmp_path / "models"


@pytest.mark.parametrize("fixed", [False, True])
def test_a_store_on_a_full_disk(models: Path, mount: Mount, fixed: bool) -> None:
    """Readers see nothing of the push; it goes on when there is room."""
    store = StoreAddress("local", str(mount("disk", SMALL) / "store"))
    with pytest.raises(DestinationError, match="no space left") as refused:
        push(models, store, fixed=fixed)
    assert "free some space" in (refused.value.hint or "")
    assert not Path(store.location, "current.json").exists()
    assert not Path(store.location, "snapshot.json").exists()
    assert not Path(store.location, "digits").exists()
    mount("disk", LARGE)
    assert "digits/1/weights.bin" in actions(push(models, store, fixed=fixed))


def test_a_pull_to_a_full_disk_leaves_nothing(models: Path, mount: Mount, tmp_path: Path) -> None:
    """Neither the models that fit nor what arrived of the others."""
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    disk = mount("disk", SMALL)
    with pytest.raises(DestinationError, match="no space left"):
        pull(store, disk / "pulled")
    assert tree(disk) == []
    mount("disk", LARGE)
    pull(store, disk / "pulled")
    assert listing(disk / "pulled") == listing(models)


def test_a_cache_on_a_full_disk(models: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and no half snapshot counts."""
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    disk = mount("disk", SMALL)
    monkeypatch.setenv("SERVE_CACHE", str(disk))
    with pytest.raises(DestinationError, match="no space left"):
        pull_into_cache(store)
    assert list(disk.glob("snapshots/*.json")) == []


def test_a_cache_that_cannot_be_written(
    models: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs a snapshot has not named that folder, and is told how."""
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    monkeypatch.setenv("SERVE_CACHE", str(mount("disk", "ro") / "cache"))
    with pytest.raises(DestinationError, match="read-only") as refused:
        pull_into_cache(store)
    assert "SERVE_CACHE" in (refused.value.hint or "")


def test_a_filled_cache_may_be_read_only(
    models: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a pod's image, or where another user filled it."""
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    monkeypatch.setenv("SERVE_CACHE", str(mount("disk", LARGE)))
    folder = pull_into_cache(store)
    mount("disk", "ro")
    assert pull_into_cache(store) == folder


def test_a_disk_that_cannot_be_written(models: Path, mount: Mount, tmp_path: Path) -> None:
    """A push and a pull name it and its reason."""
    disk = mount("disk", "ro")
    with pytest.raises(DestinationError, match="read-only file system"):
        push(models, StoreAddress("local", str(disk / "store")))
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    with pytest.raises(DestinationError, match="read-only file system"):
        pull(store, disk / "pulled")


def test_a_store_that_is_a_file(models: Path, tmp_path: Path) -> None:
    """A push and a pull say so."""
    (tmp_path / "store").write_text("a file")
    store = StoreAddress("local", str(tmp_path / "store"))
    with pytest.raises(UsageError, match="store is a file"):
        push(models, store)
    with pytest.raises(UsageError, match="store is a file"):
        pull(store, tmp_path / "pulled")
    assert (tmp_path / "store").read_text() == "a file"


def test_a_pull_onto_a_file(models: Path, tmp_path: Path) -> None:
    """The file stays."""
    store = StoreAddress("local", str(tmp_path / "store"))
    push(models, store)
    (tmp_path / "pulled").write_text("a file")
    with pytest.raises(DestinationError, match="is a file"):
        pull(store, tmp_path / "pulled")
    assert (tmp_path / "pulled").read_text() == "a file"


def test_a_store_is_no_repository(models: Path, tmp_path: Path) -> None:
    """Its folder of snapshots is no model."""
    push(models, StoreAddress("local", str(tmp_path / "store")))
    with pytest.raises(UsageError, match="is a model store") as refused:
        push(tmp_path / "store", StoreAddress("local", str(tmp_path / "other")))
    assert "pull" in (refused.value.hint or "")


def test_names_that_clash_are_refused(models: Path, tmp_path: Path) -> None:
    """Not every store and disk tells the case of letters."""
    add_model(models, "Digits", packaged=False)
    with pytest.raises(InvalidModelError, match="Digits and digits differ only in case"):
        push(models, StoreAddress("local", str(tmp_path / "store")))


def test_what_is_no_file_is_refused(models: Path, tmp_path: Path) -> None:
    """A pipe would be read forever."""
    os.mkfifo(models / "digits" / "1" / "pipe")
    with pytest.raises(InvalidModelError, match="neither a file nor a folder"):
        push(models, StoreAddress("local", str(tmp_path / "store")))


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    """Before the store is asked."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidModelError, match="contains no model"):
        push(tmp_path / "empty", StoreAddress("local", str(tmp_path / "store")))
    with pytest.raises(UsageError, match="is not a folder"):
        push(tmp_path / "none", StoreAddress("local", str(tmp_path / "store")))


@pytest.mark.parametrize("place", [".", "store", ".."])
def test_a_store_in_its_own_repository_is_refused(models: Path, place: str) -> None:
    """It would become a model of it, or the other way around."""
    store = StoreAddress("local", str(models / place))
    before = tree(models)
    with pytest.raises(UsageError, match="one folder, or one is inside"):
        push(models, store, fixed=True)
    with pytest.raises(UsageError, match="one folder, or one is inside"):
        pull(store, models)
    assert tree(models) == before
