"""The files of a snapshot where they are stored: listed, and received whether or not they are damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.progress import Progress
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.claims import CLAIMS_FOLDER, REMOVALS_FOLDER
from serve_deploy.stores.manifests.manifests import Located, locate_snapshot
from serve_deploy.stores.manifests.verification import FileProblem, check_contents, check_listing
from serve_deploy.stores.pull.readers import SnapshotReader
from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER, Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes, Store, StoredFile
from serve_deploy.stores.transfer.transfer import Tally, transfer

_CONCURRENCY = 8
# What serve keeps beside the models of a fixed layout.
_OWN = (".", f"{CLAIMS_FOLDER}/", f"{REMOVALS_FOLDER}/", f"{SNAPSHOTS_FOLDER}/")


@dataclass(frozen=True)
class StoredFiles:
    """What a store's own list says of a snapshot; `folder` has the files where they are on this machine."""

    problems: tuple[FileProblem, ...]
    unverified: tuple[str, ...] = ()
    folder: Path | None = None


def check_stored(address: StoreAddress, reader: SnapshotReader) -> StoredFiles:
    """Ask a store for what it has of a snapshot; nothing is received."""
    if address.kind == "oci":
        from serve_deploy.stores.oci import check_image

        image = check_image(address)
        problems = image.problems if image else ("the image is gone",)
        listed = image.listed if image else ()
        return StoredFiles(tuple(FileProblem("", "missing", problem) for problem in problems), listed)
    store, located = _locate(address, reader)
    listing = check_listing(located.snapshot, _list(store, located))
    folder = Path(address.location) / located.prefix if address.kind == "local" else None
    return StoredFiles(listing.problems, listing.unverified, folder)


def download_all(address: StoreAddress, reader: SnapshotReader, folder: Path, progress: Progress) -> None:
    """Receive every file that the store has at all, also one that is not what the manifest says.

    VerificationError where an image's content is damaged.
    """
    if address.kind == "oci":
        reader.receive(
            reader.snapshot.files, folder, parts=folder.parent / "parts", local={}, concurrency=_CONCURRENCY,
            progress=progress,
        )  # fmt: skip
        return
    store, located = _locate(address, reader)
    there = _list(store, located)
    files = [file for file in located.snapshot.files if file.path in there]

    def receive(file: SnapshotFile, on_bytes: OnBytes) -> None:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        store.download(f"{located.prefix}{file.path}", target, on_bytes)

    tally = Tally("receiving", sum(file.size_bytes for file in files), progress)
    transfer(files, receive, concurrency=_CONCURRENCY, tally=tally)


def compare_contents(snapshot: Snapshot, problems: Sequence[FileProblem], folder: Path) -> tuple[FileProblem, ...]:
    """What a list said, and what the content of the files in a folder says."""
    there = ((file.path, folder / file.path) for file in snapshot.files)
    contents = ((path, hash_file(file)) for path, file in there if file.is_file())
    # A store's checksum depends on how a file was written, and says nothing where the content is known.
    certain = [problem for problem in problems if problem.kind != "checksum"]
    known = {problem.path for problem in certain}
    found = (problem for problem in check_contents(snapshot, contents) if problem.path not in known)
    return (*certain, *found)


def _locate(address: StoreAddress, reader: SnapshotReader) -> tuple[Store, Located]:
    """The very snapshot that the reader has: another one may be current by now."""
    store = open_store(address.root)
    located = locate_snapshot(store, address.snapshot)
    return store, located if located.snapshot.id == reader.snapshot.id else locate_snapshot(store, reader.snapshot.id)


def _list(store: Store, located: Located) -> Mapping[str, StoredFile]:
    """The files of models, by their paths below the repository."""
    found = {path.removeprefix(located.prefix): file for path, file in store.list_files(located.prefix).items()}
    own = () if located.prefix else _OWN
    return {path: file for path, file in found.items() if "/" in path and not path.startswith(own)}
