"""Which snapshots a store has, and which one counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import ServeError, UsageError, VerificationError
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.claims import claiming
from serve_deploy.stores.manifests.manifests import (
    Located,
    find_snapshot,
    find_snapshot_ids,
    locate_snapshot,
    read_fixed,
    read_pointer,
    read_snapshot,
    stored_path,
    write_pointer,
)
from serve_deploy.stores.manifests.verification import FileProblem, check_listing
from serve_deploy.stores.options import SnapshotsOptions
from serve_deploy.stores.snapshot import FIXED_NAME, SNAPSHOTS_FOLDER, Snapshot
from serve_deploy.stores.store import Store, StoredFile

_SHOWN = 3


@dataclass(frozen=True)
class ListedSnapshot:
    """A complete snapshot; `problem` says what is wrong with its manifest or files, and the figures are 0 then."""

    id: str
    is_current: bool
    written_seconds: float | None
    models: tuple[str, ...]
    files: int
    size_bytes: int
    problem: str = ""


@dataclass(frozen=True)
class Snapshots:
    """A store's snapshots, the newest first; `previous` counted before the current one."""

    store: str
    current: str | None
    previous: str | None
    snapshots: tuple[ListedSnapshot, ...]


def read_snapshots(options: SnapshotsOptions, progress: Progress = silent) -> Snapshots:
    """List a store's snapshots, after making `use` the current one where it is given.

    UsageError where there is no such folder or snapshot, VerificationError where its manifest is damaged,
    StoreChangedError where a push made another one current meanwhile.
    """
    if options.use == "":
        raise UsageError("`use` is empty", hint=f"list the snapshots: serve snapshots {options.store}")
    if options.store.kind == "oci":
        return _read_registry(options, progress)
    _require_folder(options)
    store = open_store(options.store)
    fixed, _tag = read_fixed(store)
    if fixed:
        return _describe_fixed(store, fixed, options)
    if options.use is not None:
        name_snapshot(store, options.use)
    pointer = read_pointer(store)
    progress(f"listing {store.address}")
    files = store.list_files(f"{SNAPSHOTS_FOLDER}/")
    listed = sorted(find_snapshot_ids(files), key=lambda each: (-(each[1] or 0), each[0]))
    if pointer.snapshot and pointer.snapshot not in dict(listed):
        listed.insert(0, (pointer.snapshot, None))
    return Snapshots(
        store=str(store.address), current=pointer.snapshot, previous=pointer.previous,
        snapshots=tuple(
            _read(store, identity, written, files, identity == pointer.snapshot) for identity, written in listed
        ),
    )  # fmt: skip


def _require_folder(options: SnapshotsOptions) -> None:
    """A folder that is not there is a slip of the pen; in a bucket there are none."""
    if options.store.kind == "local" and not Path(options.store.location).exists():
        raise UsageError(f"{options.store.root} is not a folder", hint="name a store's folder or address")


def _describe_fixed(store: Store, snapshot: Snapshot, options: SnapshotsOptions) -> Snapshots:
    if options.use is not None and not snapshot.id.startswith(options.use):
        raise UsageError(
            f"{store.address} has the fixed layout, and so one snapshot: {snapshot.id}",
            hint="push the older models again; their versions are there as long as nothing deleted them",
        )
    written = store.list_files(FIXED_NAME).get(FIXED_NAME)
    listed = ListedSnapshot(
        snapshot.id, True, written.modified_seconds if written else None, snapshot.models, len(snapshot.files),
        snapshot.size_bytes,
    )  # fmt: skip
    return Snapshots(store=str(store.address), current=snapshot.id, previous=None, snapshots=(listed,))


def _read_registry(options: SnapshotsOptions, progress: Progress) -> Snapshots:
    """The snapshots that a repository of images keeps; the current one is that of the address' tag."""
    from serve_deploy.stores.oci import describe_images, name_image, read_image

    before = read_image(options.store) if options.use else None
    if options.use is not None:
        name_image(options.store, options.use)
    progress(f"listing {options.store}")
    current = read_image(options.store)
    found = describe_images(options.store, current.snapshot.id if current else None)
    listed = [
        ListedSnapshot(
            each.id, each.id == (current.snapshot.id if current else ""), each.named_seconds,
            each.snapshot.models if each.snapshot else (), len(each.snapshot.files) if each.snapshot else 0,
            each.snapshot.size_bytes if each.snapshot else 0, each.problem,
        )
        for each in found.images
    ]  # fmt: skip
    return Snapshots(
        store=str(options.store), current=current.snapshot.id if current else None,
        previous=before.snapshot.id if before else found.previous, snapshots=tuple(listed),
    )  # fmt: skip


def name_snapshot(store: Store, named: str) -> str:
    """Make a complete snapshot the current one, as a rollback does; its id.

    VerificationError where the store does not list all of it.
    """
    before = read_pointer(store)
    identity = find_snapshot(store, named).id
    with claiming(store, identity):
        # Once more: until it was claimed, prune might have removed it.
        held = locate_snapshot(store, identity)
        require_whole(store, held)
        write_pointer(store, held.snapshot.id, before)
    return identity


def require_whole(store: Store, held: Located) -> None:
    """The manifest says what was pushed; VerificationError where the store's listing has not all of it any more."""
    problems = _find_lost(held.snapshot, store.list_files(held.prefix), held.prefix)
    if problems:
        shown = "; ".join(f"{each.path}: {each.message}" for each in problems[:_SHOWN])
        more = f", and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise VerificationError(
            f"snapshot {held.snapshot.id} of {store.address} is damaged: {shown}{more}",
            hint=f"serve check {store.address}@{held.snapshot.id} shows all; serve push sends again what is missing",
        )


def _find_lost(snapshot: Snapshot, listed: Mapping[str, StoredFile], prefix: str) -> list[FileProblem]:
    own = {path.removeprefix(prefix): file for path, file in listed.items() if path.startswith(prefix)}
    return [each for each in check_listing(snapshot, own).problems if each.kind != "extra"]


def _read(
    store: Store, identity: str, written: float | None, listed: Mapping[str, StoredFile], is_current: bool
) -> ListedSnapshot:
    try:
        snapshot = read_snapshot(store, identity)
    except ServeError as error:
        return ListedSnapshot(identity, is_current, written, (), 0, 0, error.message)
    if snapshot is None:
        return ListedSnapshot(identity, is_current, written, (), 0, 0, "its manifest is gone")
    lost = _find_lost(snapshot, listed, stored_path(identity, ""))
    problem = f"damaged: {lost[0].path}: {lost[0].message}" if lost else ""
    figures = (snapshot.models, len(snapshot.files), snapshot.size_bytes)
    return ListedSnapshot(identity, is_current, written, *(((), 0, 0) if lost else figures), problem)
