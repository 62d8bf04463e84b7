"""Send a repository to a store as a snapshot: complete before anything names it, then named by one small file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from serve_deploy.errors import UsageError
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.contents import LocalFile, file_state, read_contents
from serve_deploy.stores.manifests import (
    ReadPointer,
    make_snapshot,
    read_pointer,
    read_snapshot,
    stored_path,
    write_pointer,
    write_snapshot,
)
from serve_deploy.stores.opening import open_store
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes, SourceChangedError, Store, StoredFile
from serve_deploy.stores.transfer import Tally, transfer

Action = Literal["send", "copy", "keep"]


@dataclass(frozen=True)
class PushedFile:
    """What is done for a file of the snapshot: sent from here, copied inside the store, or there already."""

    path: str
    size_bytes: int
    action: Action


@dataclass(frozen=True)
class PushResult:
    """What a push did, or with `is_dry_run` would do; `previous` is the snapshot that counted before."""

    store: str
    snapshot: str
    previous: str | None
    models: tuple[str, ...]
    files: tuple[PushedFile, ...]
    sent_bytes: int
    copied_bytes: int
    kept_bytes: int
    is_dry_run: bool


@dataclass(frozen=True)
class _Held:
    """A file of another snapshot of the same store."""

    file: SnapshotFile
    path: str


@dataclass(frozen=True)
class _Step:
    file: SnapshotFile
    local: LocalFile | None
    held: _Held | None
    stored: StoredFile | None

    @property
    def action(self) -> Action:
        return "keep" if self.stored else "copy" if self.held else "send"


def push_repository(options: PushOptions, progress: Progress = silent) -> PushResult:
    """Make a repository the store's current snapshot, sending only what the store does not have; or only say so.

    UsageError for a wrong address or folder, InvalidModelError for what cannot be pushed, EndpointError where the store
    cannot be reached, DestinationError where it cannot be written, StoreChangedError where another push came first.
    """
    _require_root(options)
    contents = read_contents(options.repository, options.models, lambda path: progress(f"reading {path}"))
    store = open_store(options.store)
    before = read_pointer(store)
    known = _read_known(store, before)
    current = known.get(before.snapshot or "")
    kept = [file for file in current.files if _model(file) not in options.models] if options.models and current else []
    snapshot = make_snapshot([*(each.file for each in contents), *kept])
    steps = _plan(store, snapshot, contents, known.values())
    actions: dict[str, Action] = {step.file.path: step.action for step in steps}
    if not options.dry_run:
        done = _send(store, snapshot, steps, options.concurrency, progress)
        # A copy that the store could not make was sent.
        actions |= {step.file.path: "send" for step in done if not step.held and actions[step.file.path] == "copy"}
        write_snapshot(store, _with_checksums(snapshot, done))
        write_pointer(store, snapshot.id, before)
    return _describe(store, snapshot, before, actions, options.dry_run)


def _require_root(options: PushOptions) -> None:
    if options.store.snapshot is not None and options.store.kind != "oci":
        raise UsageError(
            f"{options.store} names a snapshot, and a push makes a new one", hint=f"push to {options.store.root}"
        )


def _read_known(store: Store, before: ReadPointer) -> Mapping[str, Snapshot]:
    """The current snapshot and the one before it, as far as they are there: what the store can copy from."""
    names = (before.snapshot, before.pointer.previous if before.pointer else None)
    found = {name: read_snapshot(store, name) for name in names if name}
    return {name: snapshot for name, snapshot in found.items() if snapshot}


def _model(file: SnapshotFile) -> str:
    return file.path.partition("/")[0]


def _plan(store: Store, snapshot: Snapshot, contents: Sequence[LocalFile], known: Iterable[Snapshot]) -> list[_Step]:
    there = store.list_files(stored_path(snapshot.id, ""))
    local = {each.file.path: each for each in contents}
    held = {
        file.sha256: _Held(file, stored_path(other.id, file.path))
        for other in known
        if other.id != snapshot.id
        for file in other.files
    }
    steps = []
    for file in snapshot.files:
        stored = there.get(stored_path(snapshot.id, file.path))
        whole = stored if stored and stored.size_bytes == file.size_bytes else None
        steps.append(_Step(file, local.get(file.path), held.get(file.sha256), whole))
    return steps


def _send(
    store: Store, snapshot: Snapshot, steps: Sequence[_Step], concurrency: int, progress: Progress
) -> list[_Step]:
    """The steps as they were done, each with what is stored now."""
    done = {step.file.path: step for step in steps if step.stored}

    def place(step: _Step, on_bytes: OnBytes) -> None:
        done[step.file.path] = _place(store, step, stored_path(snapshot.id, step.file.path), on_bytes)

    # The largest first, so that the last thread does not end with one alone.
    missing = sorted((step for step in steps if not step.stored), key=lambda step: -step.file.size_bytes)
    tally = Tally("sending", sum(step.file.size_bytes for step in missing), progress)
    transfer(missing, place, concurrency=concurrency, tally=tally)
    return [done[step.file.path] for step in steps]


def _place(store: Store, step: _Step, path: str, on_bytes: OnBytes) -> _Step:
    if step.held and (copied := store.copy(step.held.path, path)) and _is_same(copied, step.held.file):
        on_bytes(step.file.size_bytes)
        return replace(step, stored=copied)
    with tempfile.TemporaryDirectory(prefix="serve-push-") as folder:
        source = step.local.source if step.local else None
        if step.local and source and file_state(source) != step.local.state:
            raise SourceChangedError(source)
        if source is None:
            source = Path(folder) / "file"
            if step.local or not step.held:
                source.touch()
            else:
                store.download(step.held.path, source, lambda _count: on_bytes(0))
        return replace(step, stored=store.upload(source, step.file, path, on_bytes), held=None)


def _is_same(copied: StoredFile, file: SnapshotFile) -> bool:
    """Whether a copy is the file that the manifest lists, as far as the store tells: the source may be damaged."""
    kinds = [checksum.partition(":")[0] for checksum in (copied.checksum, file.stored)]
    return copied.size_bytes == file.size_bytes and (kinds[0] != kinds[1] or copied.checksum == file.stored)


def _with_checksums(snapshot: Snapshot, steps: Sequence[_Step]) -> Snapshot:
    checksums = {step.file.path: step.stored.checksum for step in steps if step.stored}
    files = tuple(file.model_copy(update={"stored": checksums[file.path]}) for file in snapshot.files)
    return snapshot.model_copy(update={"files": files})


def _describe(
    store: Store, snapshot: Snapshot, before: ReadPointer, actions: Mapping[str, Action], is_dry_run: bool
) -> PushResult:
    files = tuple(PushedFile(file.path, file.size_bytes, actions[file.path]) for file in snapshot.files)

    def count(action: Action) -> int:
        return sum(file.size_bytes for file in files if file.action == action)

    return PushResult(
        store=str(store.address), snapshot=snapshot.id, previous=before.snapshot, models=snapshot.models, files=files,
        sent_bytes=count("send"), copied_bytes=count("copy"), kept_bytes=count("keep"), is_dry_run=is_dry_run,
    )  # fmt: skip
