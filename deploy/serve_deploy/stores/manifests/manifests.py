"""Read and write what a store says of itself: manifests of snapshots, and the pointer. What lies is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ValidationError

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.signing.model_signature import SUFFIX, signature_path
from serve_deploy.stores.signing.signing import Signer, sign_snapshot
from serve_deploy.stores.snapshot import (
    FIXED_NAME,
    ID_LENGTH,
    POINTER_NAME,
    SNAPSHOTS_FOLDER,
    Pointer,
    Snapshot,
    SnapshotFile,
    digest_listing,
)
from serve_deploy.stores.store import Store, StoreChangedError, StoredFile

FIXED_SIGNATURE = f"{FIXED_NAME.removesuffix('.json')}{SUFFIX}"
_ID = rf"[0-9a-f]{{{ID_LENGTH}}}"
_MANIFEST = re.compile(rf"{SNAPSHOTS_FOLDER}/({_ID})\.json")


Layout = Literal["snapshots", "fixed", "image"]


class EmptyStoreError(UsageError):
    """Nothing was pushed to the store yet."""


class BaseChangedError(StoreChangedError):
    """What a push changes is not what it began from."""


@dataclass(frozen=True)
class Located:
    """A snapshot in a store: its manifest, the folder of its files, and where its signature is if it has one."""

    snapshot: Snapshot
    prefix: str
    signature_path: str


@dataclass(frozen=True)
class ReadPointer:
    """The pointer as it was read, and the tag of that writing; both None where the store has none yet."""

    pointer: Pointer | None
    tag: str | None

    @property
    def snapshot(self) -> str | None:
        """Which snapshot counts."""
        return self.pointer.snapshot if self.pointer else None

    @property
    def previous(self) -> str | None:
        """Which one counted before."""
        return self.pointer.previous if self.pointer else None


def manifest_path(identity: str) -> str:
    """Where a snapshot's manifest is."""
    return f"{SNAPSHOTS_FOLDER}/{identity}.json"


def stored_path(identity: str, path: str) -> str:
    """Where a file of a snapshot is."""
    return f"{SNAPSHOTS_FOLDER}/{identity}/{path}"


def make_snapshot(files: list[SnapshotFile]) -> Snapshot:
    """The snapshot of these files."""
    listed = tuple(sorted(files, key=lambda file: file.path))
    return Snapshot(sha256=digest_listing((file.path, file.sha256) for file in listed), files=listed)


def read_pointer(store: Store) -> ReadPointer:
    """Which snapshot counts; VerificationError where the pointer is damaged."""
    small = store.read(POINTER_NAME)
    if small is None:
        return ReadPointer(None, None)
    try:
        pointer = Pointer.model_validate_json(small.content)
    except ValidationError as error:
        raise _damaged_pointer(store, "it is not a pointer to a snapshot") from error
    if not all(re.fullmatch(_ID, name) for name in (pointer.snapshot, pointer.previous) if name is not None):
        raise _damaged_pointer(store, "what it names is not a snapshot")
    return ReadPointer(pointer, small.tag)


def write_pointer(store: Store, identity: str, before: ReadPointer) -> None:
    """Make a stored snapshot the one that counts, unless another push changed that since `before` was read."""
    if before.snapshot == identity:
        return
    pointer = Pointer(snapshot=identity, previous=before.snapshot)
    try:
        store.write(POINTER_NAME, encode(pointer), expected=before.tag)
    except StoreChangedError as error:
        now = read_pointer(store)
        if now.snapshot == identity:
            return
        raise StoreChangedError(
            f"another push made {now.snapshot} the current snapshot of {store.address} meanwhile",
            hint=f"yours is stored whole; to make it current: serve snapshots {store.address} --use {identity}",
        ) from error


def read_snapshot(store: Store, identity: str) -> Snapshot | None:
    """A snapshot's manifest, checked, or None where it is not complete; VerificationError where it lies."""
    small = store.read(manifest_path(identity))
    if small is None:
        return None
    snapshot = parse_snapshot(store, manifest_path(identity), small.content)
    if snapshot.id != identity:
        raise _damaged(store, manifest_path(identity), f"it is the manifest of {snapshot.id}")
    return snapshot


def parse_snapshot(store: Store, path: str, content: bytes) -> Snapshot:
    """A manifest whose digest, paths and sizes hold; VerificationError where it lies."""
    try:
        snapshot = Snapshot.model_validate_json(content)
    except ValidationError as error:
        raise _damaged(store, path, "it is not the manifest of a snapshot") from error
    for file in snapshot.files:
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256) or file.size_bytes < 0:
            raise _damaged(store, path, f"{file.path!a} has no valid sha256 or size")
    if bad := find_bad_path([file.path for file in snapshot.files]):
        raise _damaged(store, path, bad)
    if digest_listing((file.path, file.sha256) for file in snapshot.files) != snapshot.sha256:
        raise _damaged(store, path, "its files are not those that its digest was made of")
    return snapshot


def write_snapshot(store: Store, snapshot: Snapshot) -> None:
    """Write a manifest when all its files are stored; another push of the same content may have written it."""
    path = manifest_path(snapshot.id)
    for _attempt in range(3):
        small = store.read(path)
        if small is not None and small.content != encode(snapshot):
            # Another push of these files may have sent some anew since, and stores may tell its writing from ours.
            snapshot = _with_listed(store, snapshot)
        content = encode(snapshot)
        if small is not None and small.content == content:
            return
        try:
            store.write(path, content, expected=small.tag if small else None)
        except StoreChangedError:
            continue
        return
    raise StoreChangedError(f"other pushes keep writing {path} in {store.address}", hint="try again")


def _with_listed(store: Store, snapshot: Snapshot) -> Snapshot:
    listed = store.list_files(stored_path(snapshot.id, ""))
    found = ((file, listed.get(stored_path(snapshot.id, file.path))) for file in snapshot.files)
    files = tuple(file.model_copy(update={"stored": now.checksum}) if now else file for file, now in found)
    return snapshot.model_copy(update={"files": files})


def find_layout(store: Store) -> Layout | None:
    """How the store keeps its models; None where it has none yet."""
    if store.read(FIXED_NAME) is not None:
        return "fixed"
    return "snapshots" if store.read(POINTER_NAME) is not None else None


def read_fixed(store: Store) -> tuple[Snapshot | None, str | None]:
    """The manifest of a store with the fixed layout, and its tag; VerificationError where it lies."""
    small = store.read(FIXED_NAME)
    return (parse_snapshot(store, FIXED_NAME, small.content), small.tag) if small else (None, None)


def write_fixed(store: Store, snapshot: Snapshot, tag: str | None, signer: Signer | None) -> None:
    """Write the manifest of a fixed layout, where it is still the one with this tag."""
    write_signature(store, snapshot, signer, FIXED_SIGNATURE)
    try:
        store.write(FIXED_NAME, encode(snapshot), expected=tag)
    except StoreChangedError as error:
        now, _tag = read_fixed(store)
        if now is None or now.id != snapshot.id:
            raise StoreChangedError(
                f"another push changed {store.address} meanwhile",
                hint="see what it has now: serve check; then push again",
            ) from error


def encode(document: BaseModel) -> bytes:
    """How it stands in a store."""
    return (document.model_dump_json(indent=1) + "\n").encode()


def locate_snapshot(store: Store, named: str | None) -> Located:
    """The snapshot that an address names by how its id begins, or the current one.

    EmptyStoreError where the store has none, UsageError where it has not this one, VerificationError where its manifest
    is damaged.
    """
    identity = _resolve(store, named) if named else read_pointer(store).snapshot
    fixed, _tag = (None, None) if identity and not named else read_fixed(store)
    if fixed and (identity is None or fixed.id == identity):
        return Located(fixed, "", FIXED_SIGNATURE)
    if identity is None:
        raise refuse_empty(store)
    snapshot = read_snapshot(store, identity)
    if snapshot is None:
        raise UsageError(
            f"{store.address} has no complete snapshot {identity}", hint=f"list them: serve snapshots {store.address}"
        )
    return Located(snapshot, stored_path(identity, ""), signature_path(identity))


def refuse_empty(store: Store) -> EmptyStoreError:
    """What to say of a store that nothing was pushed to."""
    return EmptyStoreError(f"{store.address} has no snapshot", hint=f"push one: serve push REPOSITORY {store.address}")


def find_snapshot(store: Store, named: str | None) -> Snapshot:
    """The manifest of `locate_snapshot`."""
    return locate_snapshot(store, named).snapshot


def write_signature(store: Store, snapshot: Snapshot, signer: Signer | None, path: str | None = None) -> None:
    """Sign a snapshot, if it is to be signed, before its manifest shows it."""
    if signer is not None:
        path = path or signature_path(snapshot.id)
        before = store.read(path)
        store.write(path, sign_snapshot(snapshot, signer), expected=before.tag if before else None)


def read_signatures(store: Store, path: str) -> Sequence[bytes]:
    """The signature at a path, or none."""
    small = store.read(path)
    return (small.content,) if small else ()


def of_models(snapshot: Snapshot | None, models: Collection[str]) -> Mapping[str, str]:
    """The files of some models, with their sha256."""
    return {file.path: file.sha256 for file in snapshot.files if file.model in models} if snapshot else {}


def list_snapshot_ids(store: Store) -> Iterator[tuple[str, float | None]]:
    """Every complete snapshot's id, and when its manifest was written as far as the store tells."""
    return find_snapshot_ids(store.list_files(f"{SNAPSHOTS_FOLDER}/"))


def find_snapshot_ids(listed: Mapping[str, StoredFile]) -> Iterator[tuple[str, float | None]]:
    """The same, of what a store lists of its snapshots."""
    for path, file in listed.items():
        if found := _MANIFEST.fullmatch(path):
            yield found[1], file.modified_seconds


def _resolve(store: Store, named: str) -> str:
    if len(named) == ID_LENGTH:
        return named
    found = sorted(identity for identity, _time in list_snapshot_ids(store) if identity.startswith(named))
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} snapshots that begin" if found else "no snapshot that begins"
    raise UsageError(f"{store.address} has {count} with {named}", hint=f"list them: serve snapshots {store.address}")


def _damaged_pointer(store: Store, why: str) -> VerificationError:
    return VerificationError(
        f"{POINTER_NAME} in {store.address} is damaged: {why}",
        hint=f"remove that file; then serve snapshots {store.address} lists what is there, and --use names one",
    )


def _damaged(store: Store, path: str, why: str) -> VerificationError:
    return VerificationError(
        f"{path} in {store.address} is damaged: {why}",
        hint=f"push its models again, or take another snapshot: serve snapshots {store.address}",
    )
