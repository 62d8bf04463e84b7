"""Pushes to one path for each model: into a folder by renames, and in the order that an object store gets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pushing import actions, listing, pull, push
from repositories import add_model

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.progress import silent
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.manifests.manifests import encode, make_snapshot, read_fixed
from serve_deploy.stores.options import PushOptions, SnapshotsOptions
from serve_deploy.stores.push.fixed import push_fixed
from serve_deploy.stores.push.fixed_journal import JOURNAL_NAME, read_journal
from serve_deploy.stores.push.pushed import describe_push
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes, SmallFile, StoreChangedError, StoredFile
from serve_deploy.stores.transfer.contents import read_contents

Pusher = Callable[..., Mapping[str, str]]


class RecordingStore(LocalStore):
    """A folder that is written file by file as an object store is; it tells what was written, in order."""

    def __init__(self, address: StoreAddress) -> None:
        super().__init__(address)
        self.written: list[str] = []

    def upload(self, source: Path, file: SnapshotFile, path: str, on_bytes: OnBytes) -> StoredFile:
        self.written.append(path)
        return super().upload(source, file, path, on_bytes)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of two models."""
    add_model(tmp_path / "models", "digits")
    add_model(tmp_path / "models", "letters")
    return tmp_path / "models"


@pytest.fixture
def address(tmp_path: Path) -> StoreAddress:
    """A folder that does not exist yet."""
    return StoreAddress("local", str(tmp_path / "store"))


@pytest.fixture
def store(address: StoreAddress) -> RecordingStore:
    """The same folder, written as an object store is."""
    return RecordingStore(address)


def push_in_order(store: LocalStore, repository: Path, *names: str, **settings: object) -> Mapping[str, str]:
    """Push as to an object store; what was done with each file that changed."""
    sleep, progress = settings.pop("sleep", silent), settings.pop("progress", silent)
    settings.setdefault("settle_seconds", 0)
    options = PushOptions(
        repository=repository, store=store.address, models=names, fixed=True, concurrency=1,
        **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    contents = read_contents(repository, names)
    pushed = push_fixed(store, contents, options, None, progress, sleep=sleep)  # type: ignore[arg-type]
    return actions(describe_push(store.address, "fixed", pushed, is_signed=False, is_dry_run=options.dry_run))


@pytest.fixture(params=["folder", "objects"])
def pusher(request: pytest.FixtureRequest, address: StoreAddress, store: RecordingStore) -> Pusher:
    """Push to the same place in each of the two ways."""
    if request.param == "objects":
        return lambda repository, *names, **settings: push_in_order(store, repository, *names, **settings)
    return lambda repository, *names, **settings: actions(push(repository, address, *names, fixed=True, **settings))


def add_version(repository: Path, model: str, version: int) -> None:
    """Another version of a model, with other weights."""
    folder = repository / model / str(version)
    shutil.copytree(next(path for path in (repository / model).iterdir() if path.name.isdecimal()), folder)
    with (folder / "model.onnx").open("ab") as stream:
        stream.write(b"\n" * version)


def stored(address: StoreAddress) -> dict[str, str]:
    """What is in the store, sha256 by path; without the drafts of a store that is still open."""
    found = listing(Path(address.location))
    return {path: sha256 for path, sha256 in found.items() if not path.startswith("serve-temporary-")}


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """By path, what changes when a file is replaced, written or linked."""
    files = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {
        path.relative_to(folder).as_posix(): (each.st_ino, each.st_mtime_ns, each.st_ctime_ns)
        for path, each in files.items()
    }


def test_models_lie_at_one_path(models: Path, address: StoreAddress, pusher: Pusher, tmp_path: Path) -> None:
    """Triton can be pointed at the store itself; a pull gives what was pushed."""
    pusher(models)
    root = Path(address.location)
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("serve-temporary-"))
    assert names == ["digits", "letters", "snapshot.json"]
    assert stored(address) == listing(models)
    pull(address, tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)


def test_what_is_the_same_is_not_touched(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """By a new version and a changed configuration of another model; a push of nothing new writes no file."""
    pusher(models)
    before = state(Path(address.location))
    add_version(models, "digits", 2)
    config = models / "letters" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed")
    assert pusher(models) == {"digits/2/model.onnx": "send", "letters/config.pbtxt": "send"}
    after = state(Path(address.location))
    assert {path for path in before if before[path] != after[path]} == {"letters/config.pbtxt", "snapshot.json"}
    assert pusher(models) == {}
    assert stored(address) == listing(models)


def test_a_model_that_changes_in_several_files_is_whole(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """Files that no push put there stay."""
    pusher(models)
    served = Path(address.location, "digits")
    (served / "1" / "__pycache__").mkdir()
    (served / "engines").write_text("of Triton")
    add_version(models, "digits", 2)
    (models / "digits" / "labels.txt").write_text("zero")
    config = models / "digits" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed")
    pusher(models)
    engines = {"digits/engines": stored(address)["digits/engines"]}
    assert stored(address) == listing(models) | engines
    assert (served / "1" / "__pycache__").is_dir()


def test_a_version_is_never_changed(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """Neither by other content, nor by a file more; nothing else of that push is written."""
    pusher(models)
    before = state(Path(address.location))
    add_version(models, "letters", 2)
    extra = models / "digits" / "1" / "extra.bin"
    extra.write_text("more")
    with pytest.raises(DestinationError, match="version 1 of digits"):
        pusher(models)
    extra.unlink()
    (models / "digits" / "1" / "model.onnx").write_bytes(b"other")
    with pytest.raises(DestinationError, match="version 1 of digits"):
        pusher(models)
    assert state(Path(address.location)) == before


def test_what_the_repository_lacks_stays(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """Models and versions; not files beside the versions, which belong to the configuration."""
    add_version(models, "digits", 2)
    (models / "digits" / "labels.txt").write_text("zero")
    pusher(models)
    shutil.rmtree(models / "letters")
    shutil.rmtree(models / "digits" / "1")
    (models / "digits" / "labels.txt").unlink()
    assert pusher(models) == {"digits/labels.txt": "delete"}
    assert {"letters/1/model.onnx", "digits/1/model.onnx"} <= stored(address).keys()
    assert "digits/labels.txt" not in stored(address)


@pytest.mark.parametrize("dry_run", [True, False])
def test_delete_removes_what_the_repository_lacks(
    models: Path, address: StoreAddress, pusher: Pusher, dry_run: bool
) -> None:
    """Models and versions, if it is not a dry run, which says the same."""
    add_version(models, "digits", 2)
    pusher(models)
    before = state(Path(address.location))
    shutil.rmtree(models / "letters")
    shutil.rmtree(models / "digits" / "1")
    done = pusher(models, delete=True, dry_run=dry_run)
    names = ("1/model.onnx", "config.pbtxt", "manifest.json", "samples.npz")
    assert done == {"digits/1/model.onnx": "delete", **{f"letters/{name}": "delete" for name in names}}
    if dry_run:
        assert state(Path(address.location)) == before
    else:
        assert stored(address) == listing(models)
        assert not Path(address.location, "letters").exists()


def test_one_model_alone_leaves_the_others(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """Also with `delete`, and though the repository does not have them."""
    add_version(models, "digits", 2)
    pusher(models)
    shutil.rmtree(models / "letters")
    shutil.rmtree(models / "digits" / "1")
    assert pusher(models, "digits", delete=True) == {"digits/1/model.onnx": "delete"}
    assert "letters/1/model.onnx" in stored(address)


def test_what_may_be_being_loaded_is_not_deleted(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """A model that has just changed, or changes by the same push; what stays is named by the result, and goes later."""
    add_version(models, "digits", 2)
    pusher(models)
    shutil.rmtree(models / "letters")
    shutil.rmtree(models / "digits" / "1")
    assert pusher(models, delete=True, settle_seconds=60) == {}
    add_version(models, "digits", 3)
    done = pusher(models, delete=True)
    assert done["digits/3/model.onnx"] == "send"
    assert done["letters/config.pbtxt"] == "delete"
    assert "digits/1/model.onnx" in stored(address)
    assert pusher(models, delete=True) == {"digits/1/model.onnx": "delete"}


def test_a_push_says_what_it_postpones(models: Path, address: StoreAddress) -> None:
    """Models and versions."""
    add_version(models, "digits", 2)
    push(models, address, fixed=True)
    shutil.rmtree(models / "letters")
    shutil.rmtree(models / "digits" / "1")
    result = push(models, address, fixed=True, delete=True, settle_seconds=60)
    assert result.postponed == ("digits version 1", "letters")


def test_a_folder_that_was_copied_by_hand_is_taken_over(models: Path, address: StoreAddress, pusher: Pusher) -> None:
    """Versions with the same files stay; one with others is not touched."""
    shutil.copytree(models, address.location)
    before = state(Path(address.location))
    pusher(models)
    assert {path: before[path] for path in before if "/1/" in path} == {
        path: each for path, each in state(Path(address.location)).items() if "/1/" in path
    }
    shutil.rmtree(address.location)
    shutil.copytree(models, address.location)
    Path(address.location, "digits", "1", "model.onnx").write_bytes(b"by hand")
    with pytest.raises(DestinationError, match="version 1 of digits"):
        pusher(models)


def test_the_two_layouts_do_not_mix(models: Path, tmp_path: Path) -> None:
    """Whichever came first."""
    fixed, snapshots = (StoreAddress("local", str(tmp_path / name)) for name in ("fixed", "snapshots"))
    push(models, fixed, fixed=True)
    push(models, snapshots)
    with pytest.raises(UsageError, match="fixed layout"):
        push(models, fixed)
    with pytest.raises(UsageError, match="holds snapshots"):
        push(models, snapshots, fixed=True)


def test_a_model_with_foreign_files_is_not_deleted(models: Path, address: StoreAddress) -> None:
    """Somebody put them there by hand."""
    push(models, address, fixed=True)
    Path(address.location, "letters", "9").mkdir()
    Path(address.location, "letters", "9", "model.onnx").write_bytes(b"by hand")
    shutil.rmtree(models / "letters")
    with pytest.raises(DestinationError, match=r"letters/9/model\.onnx was not put there"):
        push(models, address, fixed=True, delete=True)


def test_configurations_come_last(models: Path, store: RecordingStore) -> None:
    """After versions, and what stands beside them."""
    (models / "digits" / "labels.txt").write_text("zero")
    push_in_order(store, models)
    kinds = ["version" if "/1/" in path else path.rsplit("/", 1)[1] for path in store.written]
    assert kinds[:2] == ["version"] * 2
    assert kinds[-2:] == ["config.pbtxt"] * 2


@pytest.fixture
def interrupted(models: Path, store: RecordingStore) -> Path:
    """A store with both models, and a push that was killed when it had sent version 2 of digits."""
    push_in_order(store, models)
    before = stored(store.address)
    add_version(models, "digits", 2)
    (models / "digits" / "config.pbtxt").write_text((models / "digits" / "config.pbtxt").read_text() + "# 2")

    class Killed(RecordingStore):
        def upload(self, source: Path, file: SnapshotFile, path: str, on_bytes: OnBytes) -> StoredFile:
            if path == "digits/config.pbtxt":
                raise KeyboardInterrupt
            return super().upload(source, file, path, on_bytes)

    with pytest.raises(KeyboardInterrupt):
        push_in_order(Killed(store.address), models)
    snapshot, _tag = read_fixed(store)
    assert snapshot
    assert {file.path: file.sha256 for file in snapshot.files} == before
    return models


def test_an_interrupted_push_goes_on(interrupted: Path, store: RecordingStore) -> None:
    """It sends what is missing, waits for nobody, and leaves nothing behind."""
    store.written.clear()
    push_in_order(store, interrupted, sleep=pytest.fail)
    assert store.written == ["digits/config.pbtxt"]
    assert stored(store.address) == listing(interrupted)
    assert store.read(JOURNAL_NAME) is None


def test_another_push_takes_over_from_a_dead_one(interrupted: Path, store: RecordingStore) -> None:
    """Once it gave no sign of life; what only the dead one had sent goes."""
    shutil.rmtree(interrupted / "digits" / "2")
    waits: list[float] = []
    push_in_order(store, interrupted, sleep=waits.append)
    assert len(waits) == 1
    assert stored(store.address) == listing(interrupted)


def test_a_push_beside_a_living_one_is_refused(interrupted: Path, store: RecordingStore) -> None:
    """Nothing of it is sent."""
    add_version(interrupted, "letters", 2)

    def live_on(_seconds: float) -> None:
        held = store.read(JOURNAL_NAME)
        assert held
        store.write(JOURNAL_NAME, held.content, expected=held.tag)

    store.written.clear()
    with pytest.raises(StoreChangedError, match="under way"):
        push_in_order(store, interrupted, sleep=live_on)
    assert store.written == []


def test_a_push_that_lost_the_store_ends(interrupted: Path, store: RecordingStore) -> None:
    """Another one has written the manifest meanwhile."""

    def overtake(_message: str) -> None:
        _snapshot, tag = read_fixed(store)
        store.write("snapshot.json", encode(make_snapshot([])), expected=tag)

    with pytest.raises(StoreChangedError, match="another push changed"):
        push_in_order(store, interrupted, progress=overtake)


def test_what_was_to_be_deleted_goes_with_the_next_push(models: Path, store: RecordingStore) -> None:
    """Where the push was killed after its manifest stood."""

    class Killed(RecordingStore):
        def delete(self, paths: Sequence[str]) -> None:
            if "letters/config.pbtxt" in paths:
                raise KeyboardInterrupt
            super().delete(paths)

    push_in_order(store, models)
    shutil.rmtree(models / "letters")
    with pytest.raises(KeyboardInterrupt):
        push_in_order(Killed(store.address), models, delete=True)
    assert "letters/config.pbtxt" in stored(store.address)
    assert read_journal(store)
    push_in_order(store, models)
    assert stored(store.address) == listing(models)


def test_a_push_that_planned_on_what_is_no_more_sends_nothing(models: Path, store: RecordingStore) -> None:
    """Another one ended before this one held the store."""

    class Overtaken(RecordingStore):
        def write(self, path: str, content: bytes, *, expected: str | None) -> SmallFile:
            if path == JOURNAL_NAME and not self.written:
                self.written.append("other")
                push_in_order(store, models, "letters")
            return super().write(path, content, expected=expected)

    late = Overtaken(store.address)
    with pytest.raises(StoreChangedError, match="another push changed"):
        push_in_order(late, models, "digits")
    assert late.written == ["other"]
    assert {path.partition("/")[0] for path in stored(store.address)} == {"letters"}
    push_in_order(store, models, "digits")


def test_half_a_model_is_completed_first(interrupted: Path, store: RecordingStore) -> None:
    """A push of another model alone cannot know what the interrupted one had written."""
    add_version(interrupted, "letters", 2)
    with pytest.raises(DestinationError, match="digits half pushed"):
        push_in_order(store, interrupted, "letters")


def test_the_one_snapshot_is_listed(models: Path, address: StoreAddress) -> None:
    """It is the current one; no other can be."""
    pushed = push(models, address, fixed=True)
    listed = read_snapshots(SnapshotsOptions(store=address))
    assert [each.id for each in listed.snapshots] == [listed.current] == [pushed.snapshot]
    with pytest.raises(UsageError, match="one snapshot"):
        read_snapshots(SnapshotsOptions(store=address, use="0000"))


def test_what_the_stores_checksum_shows_to_be_damaged_is_not_kept(models: Path, store: RecordingStore) -> None:
    """A version is refused, and what stands beside it is sent again."""

    class Checksums(RecordingStore):
        """A store that has checksums."""

        def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
            root = Path(self.address.location)
            return {
                path: replace(file, checksum=f"sha256:{hash_file(root / path)}")
                for path, file in super().list_files(prefix).items()
            }

    opened, root = Checksums(store.address), Path(store.address.location)
    for _time in range(2):  # an upload of this one tells no checksum, a listing does
        push_in_order(opened, models)
    config, weights = (root / "digits" / name for name in ("config.pbtxt", "1/model.onnx"))
    config.write_bytes(config.read_bytes()[:-1] + b"?")
    assert push_in_order(opened, models) == {"digits/config.pbtxt": "send"}
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(DestinationError, match="version 1 of digits"):
        push_in_order(opened, models)
