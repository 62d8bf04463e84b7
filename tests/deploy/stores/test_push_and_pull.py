"""A repository through a store and back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pushing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pushing import actions, listing, pull, push, tree
from repositories import add_ensemble, add_model

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.manifests.manifests import BaseChangedError, locate_snapshot, of_models
from serve_deploy.stores.options import PullOptions, PushOptions, SnapshotsOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.pull.readers import read_current
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.store import StoreChangedError


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of two models and an ensemble with an empty version folder."""
    repository = tmp_path / "models"
    add_model(repository, "digits")
    add_model(repository, "letters", packaged=False)
    add_ensemble(repository, "both", "digits")
    return repository


@pytest.fixture
def store(tmp_path: Path) -> StoreAddress:
    """A local store that does not exist yet."""
    return StoreAddress("local", str(tmp_path / "store"))


def test_what_is_pulled_is_what_was_pushed(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Every file, manifest and samples too; the ensemble's version folder is there."""
    pushed, pulled = push(models, store), pull(store, tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)
    assert (tmp_path / "pulled" / "both" / "1").is_dir()
    assert pushed.snapshot == pulled.snapshot
    assert pushed.sent_bytes == pulled.received_bytes


def test_nothing_else_is_left(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Neither in the store nor beside the repository that was written."""
    snapshot = push(models, store).snapshot
    pull(store, tmp_path / "out" / "pulled")
    assert sorted(path.name for path in Path(store.location).iterdir()) == ["current.json", "snapshots"]
    assert sorted(path.name for path in Path(store.location, "snapshots").iterdir()) == [snapshot, f"{snapshot}.json"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pulled"]
    assert sorted(path.name for path in (tmp_path / "out" / "pulled").iterdir()) == ["both", "digits", "letters"]


def test_a_snapshot_is_a_repository_as_it_stands(models: Path, store: StoreAddress) -> None:
    """Triton can be pointed at it."""
    snapshot = push(models, store).snapshot
    assert listing(Path(store.location, "snapshots", snapshot)) == listing(models)


def test_the_same_content_is_the_same_snapshot(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Wherever it is pushed from; nothing is sent then."""
    first = push(models, store)
    shutil.copytree(models, tmp_path / "copy")
    second = push(tmp_path / "copy", store)
    assert (second.snapshot, second.previous, actions(second)) == (first.snapshot, first.snapshot, {})


def test_only_what_changed_is_sent(models: Path, store: StoreAddress) -> None:
    """The rest is copied inside the store."""
    push(models, store)
    (models / "digits" / "config.pbtxt").write_text((models / "letters" / "config.pbtxt").read_text() + "\n# new")
    result = push(models, store)
    sent = {path for path, action in actions(result).items() if action == "send"}
    assert sent == {"digits/config.pbtxt"}
    assert result.copied_bytes > result.sent_bytes


def test_a_damaged_file_is_not_copied_and_a_push_repairs_it(models: Path, store: StoreAddress) -> None:
    """Neither into the next snapshot nor back: what was pushed is there whole again."""
    first = push(models, store).snapshot
    damaged = Path(store.location, "snapshots", first, "digits", "samples.npz")
    content = bytearray(damaged.read_bytes())
    content[50] ^= 1
    damaged.write_bytes(content)
    config = models / "digits" / "config.pbtxt"
    before = config.read_text()
    config.write_text(f"{before}\n# new")
    second = push(models, store)
    assert listing(Path(store.location, "snapshots", second.snapshot)) == listing(models)
    damaged.write_bytes(content)
    config.write_text(before)
    push(models, store)
    assert listing(damaged.parents[1]) == listing(models)


def test_an_interrupted_push_is_resumed(models: Path, store: StoreAddress) -> None:
    """What has arrived is not sent again."""
    complete = push(models, store)
    root = Path(store.location)
    (root / "current.json").unlink()
    (root / "snapshots" / f"{complete.snapshot}.json").unlink()
    (root / "snapshots" / complete.snapshot / "digits" / "config.pbtxt").unlink()
    assert actions(push(models, store)) == {"digits/config.pbtxt": "send"}


def test_what_a_killed_push_left_in_tmpdir_goes_with_the_next(
    models: Path, store: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder is a file only there; the push dies while it sends that."""
    code = """if True:
        import os, signal, sys, tempfile
        from pathlib import Path
        from pushing import push
        from serve_deploy.stores.address import StoreAddress
        from serve_deploy.stores.backends.local import LocalStore
        send = LocalStore.upload
        def upload(store, source, *rest):
            if source.is_relative_to(tempfile.gettempdir()):
                os.kill(os.getpid(), signal.SIGKILL)
            return send(store, source, *rest)
        LocalStore.upload = upload
        push(Path(sys.argv[1]), StoreAddress("local", sys.argv[2]))
    """
    (temporary := tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(pushing.__file__).parent)}
    line = [sys.executable, "-c", code, str(models), store.location]
    assert subprocess.run(line, env=environment, check=False).returncode == -signal.SIGKILL
    assert os.listdir(temporary) != []
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    push(models, store)
    assert os.listdir(temporary) == []


def test_a_dry_run_says_the_same_and_writes_nothing(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Of a push and of a pull."""
    told = push(models, store, dry_run=True)
    assert not Path(store.location).exists()
    assert replace(told, is_dry_run=False) == push(models, store)
    told_pull = pull(store, tmp_path / "pulled", dry_run=True)
    assert not (tmp_path / "pulled").exists()
    assert replace(told_pull, is_dry_run=False) == pull(store, tmp_path / "pulled")


def test_one_model_is_pushed_into_the_others(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """The store's other models stay in the new snapshot, though the repository does not have them."""
    push(models, store)
    add_model(tmp_path / "other", "digits", config="instance_group { count: 2 }")
    result = push(tmp_path / "other", store, "digits")
    assert result.models == ("both", "digits", "letters")
    pull(store, tmp_path / "pulled")
    assert "count: 2" in (tmp_path / "pulled" / "digits" / "config.pbtxt").read_text()


def test_one_model_is_pulled_alone(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """What the snapshot does not have is refused."""
    push(models, store)
    pull(store, tmp_path / "pulled", "letters")
    assert [path.name for path in (tmp_path / "pulled").iterdir()] == ["letters"]
    with pytest.raises(UsageError, match="no model 'words'"):
        pull(store, tmp_path / "pulled", "words")


def test_a_pull_replaces_other_models_only_if_told(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """A model that was edited stays as it is; those that are equal are left alone."""
    push(models, store)
    pull(store, tmp_path / "pulled")
    edited = tmp_path / "pulled" / "digits" / "config.pbtxt"
    edited.write_text(edited.read_text() + "# by hand")
    with pytest.raises(DestinationError, match="digits"):
        pull(store, tmp_path / "pulled")
    assert "# by hand" in edited.read_text()
    result = pull(store, tmp_path / "pulled", force=True)
    assert (result.changed, result.received_bytes) == (("digits",), (models / "digits" / "config.pbtxt").stat().st_size)
    assert listing(tmp_path / "pulled") == listing(models)


def test_models_that_the_snapshot_lacks_stay(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """And are named."""
    push(models, store)
    add_model(tmp_path / "pulled", "own")
    assert pull(store, tmp_path / "pulled").kept == ("own",)
    assert (tmp_path / "pulled" / "own").is_dir()


def test_an_older_snapshot_is_pulled_by_its_id(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Or by how it begins."""
    first = push(models, store).snapshot
    shutil.rmtree(models / "letters")
    push(models, store)
    for number, named in enumerate((first, first[:6])):
        assert pull(replace(store, snapshot=named), tmp_path / f"pulled-{number}").models == (
            "both",
            "digits",
            "letters",
        )
    with pytest.raises(UsageError, match="no snapshot that begins"):
        pull(replace(store, snapshot="0000"), tmp_path / "none")


def test_rolling_back_is_naming_the_old_one(models: Path, store: StoreAddress) -> None:
    """The list tells the current one and the one before."""
    first = push(models, store).snapshot
    shutil.rmtree(models / "letters")
    second = push(models, store).snapshot
    result = read_snapshots(SnapshotsOptions(store=store, use=first[:8]))
    assert (result.current, result.previous) == (first, second)
    assert {each.id: each.is_current for each in result.snapshots} == {first: True, second: False}


def test_a_current_snapshot_that_is_gone_is_listed(models: Path, store: StoreAddress) -> None:
    """Whoever wonders why nothing can be pulled sees it."""
    first = push(models, store).snapshot
    Path(store.location, "snapshots", f"{first}.json").unlink()
    (listed,) = read_snapshots(SnapshotsOptions(store=store)).snapshots
    assert (listed.id, listed.is_current, listed.problem) == (first, True, "its manifest is gone")


def test_a_damaged_pointer_can_be_made_anew_as_the_hint_says(models: Path, store: StoreAddress) -> None:
    """The hint names no command that is refused in the same words."""
    first = push(models, store).snapshot
    pointer = Path(store.location, "current.json")
    pointer.write_text("{")
    with pytest.raises(VerificationError, match="is not a pointer") as refused:
        read_snapshots(SnapshotsOptions(store=store, use=first))
    assert "remove that file" in (refused.value.hint or "")
    pointer.unlink()
    assert [each.id for each in read_snapshots(SnapshotsOptions(store=store)).snapshots] == [first]
    assert read_snapshots(SnapshotsOptions(store=store, use=first)).current == first


def test_a_model_is_no_repository_to_pull_into(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Its models would lie in that model."""
    push(models, store)
    pull(store, tmp_path / "pulled")
    before = tree(tmp_path / "pulled")
    with pytest.raises(UsageError, match="is a model, not a repository"):
        pull(store, tmp_path / "pulled" / "digits")
    assert tree(tmp_path / "pulled") == before


def test_only_models_are_said_to_stay(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """The folder may have others of its own."""
    push(models, store)
    for name in ("docs", "other/1"):
        (tmp_path / "pulled" / name).mkdir(parents=True)
    assert pull(store, tmp_path / "pulled").kept == ("other",)


def test_an_empty_id_is_not_the_current_one(models: Path, store: StoreAddress) -> None:
    """A script whose variable is not set must not believe that it went back."""
    push(models, store)
    with pytest.raises(UsageError, match="is empty"):
        read_snapshots(SnapshotsOptions(store=store, use=""))


def test_a_damaged_file_is_refused(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """And nothing is written."""
    snapshot = push(models, store).snapshot
    file = Path(store.location, "snapshots", snapshot, "digits", "1", "model.onnx")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(VerificationError, match=r"digits/1/model\.onnx"):
        pull(store, tmp_path / "out" / "pulled")
    assert tree(tmp_path / "out") == [] or not (tmp_path / "out").exists()


def test_a_push_heals_what_is_damaged(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Of the same content, once more: only that is sent, whatever its size is."""
    snapshot = push(models, store).snapshot
    file = Path(store.location, "snapshots", snapshot, "digits", "config.pbtxt")
    file.write_text(file.read_text().replace("8", "9"))
    assert actions(push(models, store)) == {"digits/config.pbtxt": "send"}
    pull(store, tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)


def test_damage_is_not_copied_into_a_new_snapshot(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """What the repository has is sent instead; what only the store has is refused."""
    snapshot = push(models, store).snapshot
    for name in ("digits", "letters"):
        file = Path(store.location, "snapshots", snapshot, name, "1", "model.onnx")
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    (models / "digits" / "config.pbtxt").write_text((models / "letters" / "config.pbtxt").read_text() + "# new")
    with pytest.raises(VerificationError, match=r"letters/1/model\.onnx .* is damaged"):
        push(models, store, "digits")
    assert actions(push(models, store))["letters/1/model.onnx"] == "send"
    pull(store, tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)


def test_links_inside_the_repository_are_followed(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Of files and folders; what is pulled has files in their place."""
    (models / "letters" / "2").symlink_to(models / "digits" / "1", target_is_directory=True)
    push(models, store)
    pull(store, tmp_path / "pulled")
    assert (tmp_path / "pulled" / "letters" / "2" / "model.onnx").is_file()
    assert not (tmp_path / "pulled" / "letters" / "2").is_symlink()


def test_links_out_of_the_repository_are_refused(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Nobody wants a private key in a store."""
    (tmp_path / "secret").write_text("secret")
    (models / "digits" / "key").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidModelError, match="outside the repository"):
        push(models, store)
    assert not Path(store.location).exists()


def test_a_push_to_a_snapshot_is_refused(models: Path, store: StoreAddress) -> None:
    """A snapshot never changes."""
    with pytest.raises(UsageError, match="names a snapshot"):
        push(models, replace(store, snapshot="0123"))


def test_an_empty_store_says_so(store: StoreAddress, tmp_path: Path) -> None:
    """To a pull; a list of it is empty."""
    with pytest.raises(UsageError, match="has no snapshot"):
        pull(store, tmp_path / "pulled")
    Path(store.location).mkdir(parents=True, exist_ok=True)
    assert read_snapshots(SnapshotsOptions(store=store)).snapshots == ()


def test_two_pushes_at_once_do_not_mix(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """The later one is told which snapshot counts, and its own is stored whole."""
    push(models, store)
    add_model(tmp_path / "other", "words")
    others: list[str] = []

    def overtake(message: str) -> None:
        if message.startswith("sending") and not others:
            others.append(push(tmp_path / "other", store).snapshot)

    config = models / "digits" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed")
    with pytest.raises(StoreChangedError, match="another push made") as refused:
        push_repository(PushOptions(repository=models, store=store), overtake)
    assert others[0] in refused.value.message
    listed = read_snapshots(SnapshotsOptions(store=store))
    assert listed.current == others[0]
    assert len(listed.snapshots) == 3
    ours = (refused.value.hint or "").split()[-1]
    pull(replace(store, snapshot=ours), tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)


def test_the_same_push_twice_at_once_is_one(models: Path, store: StoreAddress) -> None:
    """Both end well."""
    done: list[str] = []

    def again(message: str) -> None:
        if message.startswith("sending") and not done:
            done.append(push(models, store).snapshot)

    assert push_repository(PushOptions(repository=models, store=store), again).snapshot == done[0]


def test_a_reader_that_polls_sees_whole_snapshots(models: Path, store: StoreAddress) -> None:
    """Whatever the pointer names is there, at every instant of several pushes."""
    push(models, store)
    stop, problems, reads = threading.Event(), [], 0

    def poll() -> None:
        nonlocal reads
        opened = open_store(store)
        while not stop.is_set():
            snapshot = locate_snapshot(opened, None)
            there = opened.list_files(snapshot.prefix)
            sizes = {f"{snapshot.prefix}{file.path}": file.size_bytes for file in snapshot.snapshot.files}
            if sizes != {path: file.size_bytes for path, file in there.items()}:
                problems.append(snapshot.snapshot.id)
            reads += 1

    reader = threading.Thread(target=poll)
    reader.start()
    config = models / "digits" / "config.pbtxt"
    for number in range(5):
        config.write_text(config.read_text() + f"# {number}\n")
        push(models, store)
    stop.set()
    reader.join()
    assert problems == []
    assert reads


def test_a_push_from_what_another_changed_is_refused(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Where the pusher says what it began from; what others did to other models does not matter."""
    push(models, store)
    base = of_models(read_current(store), ["digits"])
    add_model(tmp_path / "other", "letters", config="instance_group { count: 2 }")
    push(tmp_path / "other", store, "letters")
    config = models / "digits" / "config.pbtxt"
    config.write_text(config.read_text() + "# ours")
    push_repository(PushOptions(repository=models, store=store, models=("digits",), base=base))
    with pytest.raises(BaseChangedError, match="another push changed digits"):
        push_repository(PushOptions(repository=models, store=store, models=("digits",), base=base))


def interrupt(message: str) -> None:
    """Ctrl-C, once something has arrived."""
    if message.startswith("receiving") and not message.startswith("receiving 0 KB"):
        raise KeyboardInterrupt


def test_an_interrupted_pull_goes_on(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """What had arrived is not received again; nothing is left beside the folder in the end."""
    whole = push(models, store).sent_bytes
    options = PullOptions(store=store, repository=tmp_path / "out" / "pulled", concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        pull_repository(options, interrupt)
    assert not (tmp_path / "out" / "pulled").exists()
    assert pull_repository(options).received_bytes < whole
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pulled"]


def test_what_another_snapshot_left_half_received_is_not_shown(
    models: Path, store: StoreAddress, tmp_path: Path
) -> None:
    """An interrupted pull of the snapshot before."""
    (models / "digits" / "1" / "weights.bin").write_bytes(b"of the old one" * 1000)
    push(models, store)
    options = PullOptions(store=store, repository=tmp_path / "pulled", concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        pull_repository(options, interrupt)
    assert list(tmp_path.glob(".serve-*.partial/digits/1/*"))
    (models / "digits" / "1" / "weights.bin").unlink()
    push(models, store)
    pull_repository(options)
    assert listing(tmp_path / "pulled") == listing(models)


def test_a_new_folder_shows_all_models_at_once(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """To who looks at every instant."""
    push(models, store)
    stop, seen = threading.Event(), set()

    def look() -> None:
        while not stop.is_set():
            with suppress(FileNotFoundError):
                # Files at a repository's root are nobody's model: it is tried by one whether a rename leads there.
                seen.add(tuple(sorted(each.name for each in os.scandir(tmp_path / "pulled") if each.is_dir())))

    watcher = threading.Thread(target=look)
    watcher.start()
    pull(store, tmp_path / "pulled")
    stop.set()
    watcher.join()
    assert seen <= {(), ("both", "digits", "letters")}


def test_a_name_that_clashes_with_the_stores_is_refused(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """Else the manifest that holds both would be refused by every reader."""
    push(models, store)
    add_model(tmp_path / "other", "Digits")
    with pytest.raises(InvalidModelError, match="differ only in case"):
        push(tmp_path / "other", store, "Digits")


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=64), max_size=5)


@settings(max_examples=15)
@given(TREES)
def test_any_files_go_through_or_are_refused(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    """What can be pushed is pulled as it was; what cannot leaves no store."""
    folder = tmp_path_factory.mktemp("any")
    model, store = add_model(folder / "models", packaged=False), StoreAddress("local", str(folder / "store"))
    for path, content in files.items():
        with suppress(OSError, ValueError):  # not what this file system can hold
            (model / path).parent.mkdir(parents=True, exist_ok=True)
            (model / path).write_bytes(content)
    try:
        push(folder / "models", store)
    except InvalidModelError:
        assert not Path(store.location).exists()
        return
    pull(store, folder / "pulled")
    assert listing(folder / "pulled") == listing(folder / "models")


def test_a_pull_into_the_current_folder_is_seen_there(
    models: Path, store: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell that stands in it goes on standing in it."""
    push(models, store)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pull(store, Path())
    assert sorted(os.listdir()) == ["both", "digits", "letters"]


def test_what_another_user_left_half_received_is_left_alone(models: Path, store: StoreAddress, tmp_path: Path) -> None:
    """It can neither be written nor trusted."""
    push(models, store)
    theirs = tmp_path / ".serve-pulled.partial"
    theirs.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(theirs, 65534, 65534)
    (theirs / "file").touch()
    pull(store, tmp_path / "pulled")
    assert listing(tmp_path / "pulled") == listing(models)
    assert [path.name for path in theirs.iterdir()] == ["file"]


def test_a_repository_is_no_store_of_snapshots(models: Path, store: StoreAddress) -> None:
    """A Triton that polls it would take them for a model; the fixed layout is for it."""
    add_model(Path(store.location), "digits")
    before = tree(Path(store.location))
    with pytest.raises(UsageError, match="is a model repository") as refused:
        push(models, store)
    assert "`fixed`" in (refused.value.hint or "")
    assert tree(Path(store.location)) == before
    push(models, store, fixed=True)
