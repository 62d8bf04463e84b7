"""Old snapshots of a real store go, and at no moment does a reader see one that claims to be whole and is not."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from serve_deploy.errors import EndpointError, ServeError, UsageError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import PruneResult, prune
from serve_deploy.pruning.snapshots import read_contents, remove_snapshots
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.listing import name_snapshot
from serve_deploy.stores.manifests.claims import claiming
from serve_deploy.stores.manifests.manifests import (
    EmptyStoreError,
    list_snapshot_ids,
    manifest_path,
    read_pointer,
    read_snapshot,
    stored_path,
)
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.snapshot import POINTER_NAME
from serve_deploy.stores.store import SmallFile, StoreChangedError, StoredFile

CONFIG = 'platform: "onnxruntime_onnx"\n'


class Store:
    """A store on this disk, and repositories to push."""

    def __init__(self, folder: Path) -> None:
        self.address = StoreAddress("local", str(folder / "store"))
        self.store = LocalStore(self.address)
        self._models = folder / "models"

    def push(self, content: str) -> str:
        """Push a repository with this content; the snapshot's id."""
        repository = self._models / content
        (repository / "m" / "1").mkdir(parents=True, exist_ok=True)
        (repository / "m" / "config.pbtxt").write_text(CONFIG)
        for name in ("model.onnx", "weights"):
            (repository / "m" / "1" / name).write_text(f"{name} {content}")
        return push_repository(PushOptions(repository=repository, store=self.address)).snapshot

    def age(self, identity: str, days: float) -> None:
        """Make all of a snapshot older."""
        then = time.time() - days * 24 * 3600
        root = Path(self.address.location)
        for path in [root / manifest_path(identity), *(root / stored_path(identity, "")).rglob("*")]:
            if path.exists():
                os.utime(path, (then, then))

    def prune(self, keep: int = 1, *, dry_run: bool = False) -> PruneResult:
        """Prune without asking a cluster."""
        return prune(PruneOptions(repository=self.address, keep=keep, dry_run=dry_run, ignore_releases=True))

    @property
    def ids(self) -> set[str]:
        """The complete snapshots."""
        return {identity for identity, _ in list_snapshot_ids(self.store)}

    def check(self) -> None:
        """Every snapshot that claims to be whole is, and so is the one that counts."""
        for identity in self.ids:
            if (snapshot := read_snapshot(self.store, identity)) is None:
                continue
            there = self.store.list_files(stored_path(identity, ""))
            # One that was begun to be removed meanwhile claims nothing any more.
            missing = [file.path for file in snapshot.files if stored_path(identity, file.path) not in there]
            assert not missing or read_snapshot(self.store, identity) is None, (identity, missing)
        if current := read_pointer(self.store).snapshot:
            assert current in self.ids


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path)


@pytest.fixture
def four(store: Store) -> tuple[Store, list[str]]:
    """A store of four snapshots, the oldest first; the last one counts."""
    names = [store.push(content) for content in "abcd"]
    for index, name in enumerate(names):
        store.age(name, 40 - index)
    return store, names


def test_old_snapshots_go(four: tuple[Store, list[str]]) -> None:
    """All of each: manifest, files and folder. The current one and the one before it stay."""
    store, (a, b, c, d) = four
    result = store.prune()
    assert ([each.id for each in result.snapshots], store.ids) == ([a, b], {c, d})
    assert result.freed_bytes > 0
    left = os.listdir(Path(store.address.location) / "snapshots")
    assert sorted(left) == sorted([c, d, f"{c}.json", f"{d}.json"])


def test_a_dry_run_removes_nothing(four: tuple[Store, list[str]]) -> None:
    """It names the same snapshots."""
    store, names = four
    assert [each.id for each in store.prune(dry_run=True).snapshots] == names[:2]
    assert store.ids == set(names)


def test_a_snapshot_that_was_named_again_stays(four: tuple[Store, list[str]]) -> None:
    """A rollback counts, and the one that it went back from."""
    store, (a, b, c, d) = four
    name_snapshot(store.store, a)
    assert {each.id for each in store.prune().snapshots} == {b, c}
    assert store.ids == {a, d}


def test_an_upload_that_nobody_ends_goes(four: tuple[Store, list[str]]) -> None:
    """What an interrupted push left a month ago; a younger one is for its push to resume."""
    store, (a, b, _c, _d) = four
    store.store.delete([manifest_path(a), manifest_path(b)])
    store.age(b, 0)
    result = store.prune(keep=4)
    assert [(each.id, each.is_complete) for each in result.snapshots] == [(a, False)]
    assert result.kept == (f"the unfinished upload of {b}: it may still be going on, or be resumed",)
    assert set(os.listdir(Path(store.address.location) / "snapshots")) >= {b}


def test_what_is_being_pushed_stays(four: tuple[Store, list[str]]) -> None:
    """A push claims it first; a claim that a killed push left a day ago counts no more, and is cleared away."""
    store, (a, b, c, d) = four
    with claiming(store.store, a):
        result = store.prune()
        assert ([each.id for each in result.snapshots], store.ids) == ([b], {a, c, d})
        assert result.kept == (f"snapshot {a}: a push sends it or names it just now",)
        (claim,) = store.store.list_files("claims/")
        then = time.time() - 25 * 3600
        os.utime(Path(store.address.location) / claim, (then, then))
        assert [each.id for each in store.prune().snapshots] == [a]
        assert dict(store.store.list_files("claims/")) == {}


def test_a_push_of_what_is_being_removed_is_refused(four: tuple[Store, list[str]]) -> None:
    """And can be run again afterwards; the pointer names what it named."""
    store, (a, *_others, d) = four

    class During(LocalStore):
        def delete(self, paths: Sequence[str]) -> None:
            if manifest_path(a) in paths:
                with pytest.raises(ServeError, match=f"snapshot {a} is being removed by serve prune"):
                    store.push("a")
            super().delete(paths)

    watched = During(store.address)
    remove_snapshots(watched, [each for each in read_contents(watched).snapshots if each.id == a], lambda _text: None)
    assert (a in store.ids, read_pointer(store.store).snapshot) == (False, d)
    assert store.push("a") == a
    store.check()


def test_a_store_whose_list_lags_is_refused_in_words(store: Store) -> None:
    """A push and a prune at once could not see each other there."""

    class Lagging(LocalStore):
        def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
            return {} if prefix.startswith("claims/") else super().list_files(prefix)

    name = store.push("a")
    with pytest.raises(EndpointError, match="does not list what was just written"):
        name_snapshot(Lagging(store.address), name)
    assert store.store.list_files("claims/") == {}


@pytest.mark.parametrize("action", ["push", "name", "prune"])
def test_whatever_happens_between_two_steps_of_a_prune(tmp_path: Path, action: str) -> None:
    """At each step: the old content is pushed again, or named, or pruned by another run: nothing is damaged."""
    steps = 0
    a, _b, _c = (Store(tmp_path / "first").push(content) for content in "abc")
    for at in range(100):
        shutil.copytree(tmp_path / "first", tmp_path / str(at))
        store = Store(tmp_path / str(at))
        acts: dict[str, Callable[[], object]] = {
            "push": lambda store=store: store.push("a"),
            "name": lambda store=store: name_snapshot(store.store, a),
            "prune": lambda store=store: store.prune(),
        }
        watched = _Interrupted(store, at, acts[action])
        old = [each for each in read_contents(store.store).snapshots if each.id == a]
        remove_snapshots(watched, old, lambda _text: None)
        store.check()
        steps = watched.steps
        if at > steps:
            break
    assert steps > 5, "no step was found to act at"


def test_a_prune_that_is_killed_at_any_step(tmp_path: Path) -> None:
    """What it leaves is no snapshot, or a whole one; the next prune removes the rest, and the content can come back."""

    def die() -> None:
        raise KeyboardInterrupt

    a, b, c = (Store(tmp_path / "first").push(content) for content in "abc")
    for at in range(100):
        shutil.copytree(tmp_path / "first", tmp_path / str(at))
        store = Store(tmp_path / str(at))
        killed = _Interrupted(store, at, die)
        old = [each for each in read_contents(store.store).snapshots if each.id == a]
        try:
            remove_snapshots(killed, old, lambda _text: None)
        except KeyboardInterrupt:
            store.age(a, 2)
            store.prune()
            assert {path.split("/")[1].partition(".")[0] for path in store.store.list_files("snapshots/")} == {b, c}
            # A mark of its own that it left gives way after an hour.
            then = time.time() - 2 * 3600
            for mark in store.store.list_files("removals/"):
                os.utime(Path(store.address.location) / mark, (then, then))
            assert store.push("a") == a
            store.check()
        else:
            break
    assert at > 5, "no step was found to die at"


class _Interrupted(LocalStore):
    """A store that lets something else happen before one of its steps, file by file, and is checked after each."""

    def __init__(self, store: Store, at: int, act: Callable[[], object]) -> None:
        super().__init__(store.address)
        self._store, self._at, self._act, self.steps = store, at, act, 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps - 1 == self._at:
            # Refused: it is being removed, or is gone.
            with suppress(StoreChangedError, UsageError):
                self._act()
        self._store.check()

    def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
        self._step()
        return super().list_files(prefix)

    def read(self, path: str) -> SmallFile | None:
        if path == POINTER_NAME:
            self._step()
        return super().read(path)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._step()
            super().delete([path])
        self._step()


def test_pushes_beside_prunes(store: Store) -> None:
    """Pushes of old and new contents, two prunes and a reader at once: what counts is always whole."""
    ended = threading.Event()
    store.push("a")

    def repeat(act: Callable[[], object]) -> None:
        while not ended.is_set():
            act()

    with ThreadPoolExecutor() as pool:
        beside = [pool.submit(repeat, act) for act in (store.prune, store.prune, store.check)]
        try:
            for number in range(20):
                # Refused: a prune removes the same content just now.
                with suppress(StoreChangedError):
                    pushed = store.push("abcdef"[number * 5 % 6])
                    assert read_pointer(store.store).snapshot == pushed
        finally:
            ended.set()
    assert [each.exception() for each in beside] == [None, None, None]
    store.check()


def test_a_store_that_nothing_was_pushed_to(store: Store) -> None:
    """It is called neither clean nor a broken repository."""
    with pytest.raises(EmptyStoreError, match="has no snapshot"):
        prune(PruneOptions(repository=store.address))


def test_models_of_snapshots_cannot_be_chosen(four: tuple[Store, list[str]]) -> None:
    """A snapshot is removed whole."""
    with pytest.raises(UsageError, match="removed whole"):
        prune(PruneOptions(repository=four[0].address, models=("m",)))
    with pytest.raises(UsageError, match="names a snapshot"):
        prune(PruneOptions(repository=parse_address("s3://bucket/models@0123456789abcdef")))


def test_an_empty_store_has_nothing_to_remove(store: Store) -> None:
    """One whose only snapshot counts, too; no cluster is asked."""
    store.push("a")

    def refuse(_context: str | None) -> None:
        raise EndpointError("no cluster is configured")

    result = prune(PruneOptions(repository=store.address), connect_to=refuse)  # type: ignore[arg-type]
    assert (result.snapshots, result.kept, result.releases) == ((), (), "")
