"""Remove a store's old snapshots: the manifest first, so that none ever claims to be whole while its files go."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.progress import Progress
from serve_deploy.pruning.policy import HeldSnapshot, JudgedSnapshots, SnapshotPolicy, judge_snapshots
from serve_deploy.stores.manifests.claims import remove_stale_marks, removing
from serve_deploy.stores.manifests.manifests import ReadPointer, manifest_path, read_pointer, stored_path
from serve_deploy.stores.signing.model_signature import signature_path
from serve_deploy.stores.snapshot import ID_LENGTH, SNAPSHOTS_FOLDER
from serve_deploy.stores.store import Store, StoredFile

_OWN = re.compile(rf"{SNAPSHOTS_FOLDER}/([0-9a-f]{{{ID_LENGTH}}})(/.+|\.json|\.sigstore\.json)")


@dataclass(frozen=True)
class StoreContents:
    """What a store lists of snapshots, and which one its pointer names."""

    pointer: ReadPointer
    snapshots: tuple[HeldSnapshot, ...]

    @property
    def current(self) -> tuple[str | None, ...]:
        """The snapshot that counts, and the one that did before."""
        return _named_by(self.pointer)


def read_contents(store: Store) -> StoreContents:
    """The snapshots of a store, whole or not; VerificationError where its pointer is damaged."""
    pointer = read_pointer(store)
    files: dict[str, list[StoredFile]] = defaultdict(list)
    for path, file in store.list_files(f"{SNAPSHOTS_FOLDER}/").items():
        if found := _OWN.fullmatch(path):
            files[found[1]].append(file)
    return StoreContents(pointer, tuple(_describe(identity, files[identity]) for identity in sorted(files)))


def judge(contents: StoreContents, policy: SnapshotPolicy, named: Mapping[str, str], now: float) -> JudgedSnapshots:
    """Which of them can go."""
    return judge_snapshots(contents.snapshots, policy, current=contents.current, named=named, now=now)


def remove_snapshots(
    store: Store, snapshots: Sequence[HeldSnapshot], progress: Progress
) -> tuple[list[HeldSnapshot], list[str]]:
    """Remove each unless it is being pushed or was made current meanwhile; those that went, and why others stay."""
    removed: list[HeldSnapshot] = []
    kept: list[str] = []
    for each in snapshots:
        progress(f"removing snapshot {each.id}")
        with removing(store, each.id) as is_free:
            if not is_free:
                kept.append(f"snapshot {each.id}: a push sends it or names it just now")
            elif each.id in _named_by(read_pointer(store)):
                kept.append(f"snapshot {each.id}: it was made the current one meanwhile")
            else:
                store.delete([manifest_path(each.id), signature_path(each.id)])
                store.delete(list(store.list_files(stored_path(each.id, ""))))
                removed.append(each)
    remove_stale_marks(store)
    return removed, kept


def _named_by(pointer: ReadPointer) -> tuple[str | None, ...]:
    return pointer.snapshot, pointer.previous


def _describe(identity: str, files: Sequence[StoredFile]) -> HeldSnapshot:
    manifest = next((file for file in files if file.path == manifest_path(identity)), None)
    times = [file.modified_seconds for file in files]
    newest = None if None in times else max(time for time in times if time is not None)
    return HeldSnapshot(
        id=identity,
        is_complete=manifest is not None,
        written_seconds=manifest.modified_seconds if manifest else newest,
        files=sum(file.path.startswith(stored_path(identity, "")) for file in files),
        size_bytes=sum(file.size_bytes for file in files),
    )
