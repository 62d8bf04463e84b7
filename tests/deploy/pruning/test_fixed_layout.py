"""A store that is a repository itself: judged as a folder is, and its manifest never lists what is gone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from changed_models import CODE, config, ensemble, model
from written_models import write_files

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.files.staging import try_lock
from serve_deploy.progress import silent
from serve_deploy.pruning.fixed_layout import judge_fixed, remove_fixed
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.manifests.manifests import FIXED_SIGNATURE, make_snapshot, parse_snapshot
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.fixed import push_fixed
from serve_deploy.stores.push.fixed_journal import JOURNAL_NAME
from serve_deploy.stores.snapshot import FIXED_NAME
from serve_deploy.stores.store import SmallFile, StoreChangedError
from serve_deploy.stores.transfer.contents import read_contents


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in the fixed layout: a model of three versions, an ensemble that names the second, and the manifest."""
    folder = tmp_path / "store"
    write_files(folder / "a", model(versions={1: CODE, 2: CODE, 3: CODE}))
    write_files(folder / "above", {"config.pbtxt": ensemble("a", version=2), "1/.gitkeep": ""})
    snapshot = make_snapshot([each.file for each in read_contents(folder)])
    (folder / FIXED_NAME).write_text(snapshot.model_dump_json())
    (folder / FIXED_SIGNATURE).write_text("{}")
    return folder


def listed(root: Path) -> list[str]:
    """What the manifest lists."""
    store = LocalStore(StoreAddress("local", str(root)))
    return [file.path for file in parse_snapshot(store, FIXED_NAME, (root / FIXED_NAME).read_bytes()).files]


def test_versions_that_nothing_serves_go(root: Path) -> None:
    """By the version policy, and what an ensemble names stays; no cluster is asked: releases name no version."""
    result = prune(PruneOptions(repository=root))
    assert [(each.model, each.version, each.size_bytes) for each in result.removed] == [("a", 1, len(CODE))]
    assert result.kept == ("a version 2: an ensemble names it",)
    assert sorted(path.name for path in (root / "a").iterdir()) == ["2", "3", "config.pbtxt"]
    assert sorted(listed(root)) == sorted(each.file.path for each in read_contents(root))


def test_a_dry_run_removes_nothing(root: Path) -> None:
    """Of a store that is not local, too, as its files are read alike."""
    before = sorted(root.rglob("*"))
    assert [each.version for each in prune(PruneOptions(repository=root, dry_run=True)).removed] == [1]
    assert sorted(root.rglob("*")) == before


def test_the_manifest_never_lists_what_is_gone(root: Path) -> None:
    """It is written first; its signature, which was of other files, goes before."""

    class Watched(LocalStore):
        def delete(self, paths: Sequence[str]) -> None:
            for path in paths:
                super().delete([path])
                assert [each for each in listed(root) if not (root / each).exists()] == []

    store = Watched(StoreAddress("local", str(root)))
    remove_fixed(store, judge_fixed(store, ()).removable)
    assert not (root / "a" / "1").exists()
    assert not (root / FIXED_SIGNATURE).exists()


def test_a_push_that_is_under_way_is_not_disturbed(root: Path) -> None:
    """Nor one that was interrupted: nothing is removed."""
    (root / JOURNAL_NAME).write_bytes((root / FIXED_NAME).read_bytes())
    with pytest.raises(StoreChangedError, match="is under way"):
        prune(PruneOptions(repository=root))
    assert (root / "a" / "1").exists()


def test_a_push_waits_while_versions_of_a_folder_go(root: Path) -> None:
    """It would see the version there, while the manifest listed it no more, and list it again."""
    held: list[bool] = []

    class Watched(LocalStore):
        def delete(self, paths: Sequence[str]) -> None:
            if "a/1/model.py" in paths:
                held.append(try_lock(root) is None)
            super().delete(paths)

    store = Watched(StoreAddress("local", str(root)))
    remove_fixed(store, judge_fixed(store, ()).removable)
    assert held == [True]


class Bucket:
    """A store without locks, as a bucket; `holding` is called before a push holds it, `deleting` before a removal."""

    def __init__(self, root: Path) -> None:
        self._store = LocalStore(StoreAddress("local", str(root)))
        self.holding: Callable[[], object] = lambda: None
        self.deleting: Callable[[Sequence[str]], object] = lambda _paths: None
        self._looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, path: str) -> SmallFile | None:
        self._looks += path == JOURNAL_NAME
        if path == JOURNAL_NAME and self._looks == 2:
            self.holding()
        return self._store.read(path)

    def delete(self, paths: Sequence[str]) -> None:
        self.deleting(paths)
        self._store.delete(paths)


def test_a_push_that_looked_while_versions_of_a_bucket_went_is_refused(root: Path, tmp_path: Path) -> None:
    """It saw the version there, while the manifest listed it no more; the same push ends well afterwards."""
    for path in root.rglob("__pycache__"):  # which no push sends
        path.unlink()
    shutil.copytree(root / "a", tmp_path / "models" / "a")
    contents = read_contents(tmp_path / "models")
    looked, pruned = threading.Event(), threading.Event()

    def push() -> None:
        store = Bucket(root)
        store.holding = lambda: (looked.set(), pruned.wait(60))
        options = PushOptions(repository=tmp_path / "models", store=store.address, fixed=True)
        push_fixed(store, contents, options, None, silent)

    def let_look(paths: Sequence[str]) -> None:
        if "a/1/model.py" in paths:
            pushing.append(pool.submit(push))
            looked.wait(60)

    pruning, pushing = Bucket(root), list[Future[None]]()
    pruning.deleting = let_look
    with ThreadPoolExecutor() as pool:
        remove_fixed(pruning, judge_fixed(pruning, ()).removable)
        pruned.set()
    assert isinstance(pushing[0].exception(), StoreChangedError)
    assert [each for each in listed(root) if not (root / each).exists()] == []
    push()
    assert (root / "a" / "1").exists()
    assert not (root / JOURNAL_NAME).exists()


def test_a_prune_that_was_killed_is_completed_by_the_next(root: Path) -> None:
    """In a bucket, where its journal stands."""

    def die(paths: Sequence[str]) -> None:
        if "a/1/model.py" in paths:
            raise KeyboardInterrupt

    killed = Bucket(root)
    killed.deleting = die
    with pytest.raises(KeyboardInterrupt):
        remove_fixed(killed, judge_fixed(killed, ()).removable)
    assert (root / JOURNAL_NAME).exists()
    remove_fixed(Bucket(root), judge_fixed(Bucket(root), ()).removable)
    assert not (root / "a" / "1").exists()
    assert not (root / JOURNAL_NAME).exists()


def test_what_cannot_be_judged_is_said_of_the_store(root: Path) -> None:
    """A damaged configuration and an unknown model, by the store's own address."""
    store = LocalStore(StoreAddress("local", str(root)))
    with pytest.raises(UsageError, match=r"store has no model 'b'"):
        judge_fixed(store, ["b"])
    (root / "above" / "config.pbtxt").write_text("{")
    with pytest.raises(InvalidModelError) as caught:
        judge_fixed(store, ())
    assert f"{root}/above/config.pbtxt" in str(caught.value)


def test_only_the_named_models(root: Path) -> None:
    """The others keep their versions."""
    write_files(root / "b", model(config(), versions={1: CODE, 2: CODE}))
    assert [(each.model, each.version) for each in prune(PruneOptions(repository=root, models=("b",))).removed] == [
        ("b", 1)
    ]
