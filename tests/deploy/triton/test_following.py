"""A folder that follows a store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pushing import listing, push
from repositories import add_model

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.triton.following import StoreFollower, following
from serve_deploy.triton.options import ServerOptions


@dataclass
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class _Followed:
    models: Path
    store: StoreAddress
    folder: Path
    follower: StoreFollower
    clock: _Clock

    def look_later(self) -> object:
        self.clock.now += 60
        return self.follower.look()


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[_Followed]:
    """A local store of two models, and what follows it."""
    models, store, clock = tmp_path / "models", StoreAddress("local", str(tmp_path / "store")), _Clock()
    add_model(models, "digits")
    add_model(models, "letters", packaged=False)
    snapshot = tmp_path / "store" / "snapshots" / push(models, store).snapshot
    options = ServerOptions(repository=snapshot, watch=True, pulled_from=store)
    with following(options, clock=clock) as (own, follower):
        assert follower is not None
        yield _Followed(models, store, own.repository, follower, clock)


def test_nothing_is_told_while_nothing_changes(followed: _Followed) -> None:
    """The folder has the snapshot that it began with."""
    assert followed.look_later() is None
    assert listing(followed.folder) == listing(followed.models)


def test_what_is_pushed_comes_into_the_folder(followed: _Followed) -> None:
    """Changed, new and removed models, told once."""
    (followed.models / "digits" / "config.pbtxt").write_text("max_batch_size: 4")
    add_model(followed.models, "forest")
    shutil.rmtree(followed.models / "letters")
    snapshot = push(followed.models, followed.store).snapshot
    news = followed.look_later()
    assert getattr(news, "snapshot", "") == snapshot
    assert listing(followed.folder) == listing(followed.models)
    assert followed.look_later() is None


def test_a_model_that_did_not_change_is_left_alone(followed: _Followed) -> None:
    """Triton would load it again."""
    before = (followed.folder / "letters").stat().st_ino
    (followed.models / "digits" / "config.pbtxt").write_text("max_batch_size: 4")
    push(followed.models, followed.store)
    followed.look_later()
    assert (followed.folder / "letters").stat().st_ino == before


def test_it_is_not_asked_all_the_time(followed: _Followed) -> None:
    """A store that is asked twice a second costs money."""
    (followed.models / "digits" / "config.pbtxt").write_text("max_batch_size: 4")
    push(followed.models, followed.store)
    assert followed.follower.look() is None
    assert followed.look_later() is not None


def test_a_store_that_cannot_be_read_is_told_once_and_left_for_later(followed: _Followed) -> None:
    """The server goes on with what it has."""
    pointer = Path(followed.store.location) / "current.json"
    content = pointer.read_text()
    pointer.write_text("{")
    news = followed.look_later()
    assert "damaged" in getattr(news, "problem", "")
    assert followed.look_later() is None
    pointer.write_text(content)
    assert getattr(followed.look_later(), "problem", None) == ""


def test_the_cache_is_not_written_to(followed: _Followed) -> None:
    """A Python model leaves its bytecode in the folder that is served."""
    (followed.folder / "digits" / "1" / "left.pyc").touch()
    snapshots = Path(followed.store.location, "snapshots")
    assert not list(snapshots.rglob("left.pyc"))


@pytest.mark.parametrize("flags", [("--model-control-mode=poll",), ("--model-control-mode", "poll")])
def test_a_triton_that_would_poll_the_cache_is_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """It would serve what the store had at the start for ever, and say nothing."""
    store = StoreAddress("local", str(tmp_path / "store"))
    with pytest.raises(UsageError, match="never changes") as refused:
        ServerOptions(repository=tmp_path, pulled_from=store, extra_arguments=flags)
    assert "`watch`" in (refused.value.hint or "")
