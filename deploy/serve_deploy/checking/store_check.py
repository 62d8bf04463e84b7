"""Check a model store: its files against the snapshot's manifest, its models in Triton, and what a server serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import RepositoryCheck, check_repository
from serve_deploy.checking.served_snapshot import ServedSnapshot, compare_served, read_stored_models
from serve_deploy.errors import UsageError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.claims import CLAIMS_FOLDER, REMOVALS_FOLDER
from serve_deploy.stores.manifests import Located
from serve_deploy.stores.opening import open_store
from serve_deploy.stores.pull import find_trusted
from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER, Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes, Store, StoredFile
from serve_deploy.stores.transfer import Tally, transfer
from serve_deploy.stores.trust import open_trust
from serve_deploy.stores.verification import FileProblem, ListingCheck, check_contents, check_listing

_CONCURRENCY = 8
_OWN = (".", f"{CLAIMS_FOLDER}/", f"{REMOVALS_FOLDER}/", f"{SNAPSHOTS_FOLDER}/")


@dataclass(frozen=True)
class StoreCheck:
    """A snapshot's files, compared by the store's own checksums or by content; `unverified` have only the right size.

    `signed_by` is whose signature was required and found. `repository` is the check of its models, where it was
    downloaded and undamaged; `served` that of a running server.
    """

    store: str
    snapshot: str
    models: tuple[str, ...]
    files: int
    size_bytes: int
    compared: Literal["checksums", "content"]
    problems: tuple[FileProblem, ...]
    unverified: tuple[str, ...]
    signed_by: str | None = None
    repository: RepositoryCheck | None = None
    served: ServedSnapshot | None = None


def check_store(options: CheckOptions, *, progress: Progress = silent) -> StoreCheck:
    """Compare every file of a store's snapshot with its manifest, without downloading it unless that is asked for.

    UsageError where it is no store or has no such snapshot; VerificationError where the manifest itself is damaged;
    EndpointError where the store, or the server at `url`, does not answer.
    """
    address = options.repository
    if not isinstance(address, StoreAddress):
        raise UsageError(f"{address} is not a store", hint="check_repository checks a folder")
    progress(f"reading {address}")
    store = open_store(address.root)
    located, signed_by = find_trusted(store, address.snapshot, open_trust(options.trust))
    snapshot = located.snapshot
    listing = check_listing(snapshot, _list(store, located))
    check = _describe(address, snapshot, listing, signed_by)
    if address.kind == "local" and not options.download:
        check = _with_contents(check, snapshot, Path(address.location) / located.prefix)
    if options.download:
        with _downloaded(store, located, listing, progress) as folder:
            check = _with_contents(check, snapshot, folder)
            if not check.problems:
                loaded = check_repository(
                    replace(options, repository=folder, download=False, url=None), progress=progress
                )
                check = replace(check, repository=replace(loaded, repository=check.store))
    if options.url is not None:
        progress(f"asking {options.url}")
        folders = read_stored_models(store, located, options.model_config_name)
        check = replace(check, served=compare_served(folders, options.url))
    return check


def _list(store: Store, located: Located) -> Mapping[str, StoredFile]:
    """The files of models, by their paths below the repository."""
    found = {path.removeprefix(located.prefix): file for path, file in store.list_files(located.prefix).items()}
    # Beside the models of a fixed layout stands what serve keeps there.
    own = () if located.prefix else _OWN
    return {path: file for path, file in found.items() if "/" in path and not path.startswith(own)}


def _describe(address: StoreAddress, snapshot: Snapshot, listing: ListingCheck, signed_by: str | None) -> StoreCheck:
    return StoreCheck(
        store=str(address.root),
        snapshot=snapshot.id,
        models=snapshot.models,
        files=len(snapshot.files),
        size_bytes=snapshot.size_bytes,
        compared="checksums",
        problems=listing.problems,
        unverified=listing.unverified,
        signed_by=signed_by,
    )


@contextmanager
def _downloaded(store: Store, located: Located, listing: ListingCheck, progress: Progress) -> Iterator[Path]:
    """A folder with every file that the store has at all; gone afterwards."""
    place = make_temporary("check")
    missing = {problem.path for problem in listing.problems if problem.kind == "missing"}
    files = [file for file in located.snapshot.files if file.path not in missing]

    def receive(file: SnapshotFile, on_bytes: OnBytes) -> None:
        target = place / "models" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        store.download(f"{located.prefix}{file.path}", target, on_bytes)

    try:
        tally = Tally("receiving", sum(file.size_bytes for file in files), progress)
        transfer(files, receive, concurrency=_CONCURRENCY, tally=tally)
        yield place / "models"
    finally:
        remove_temporary(place)


def _with_contents(check: StoreCheck, snapshot: Snapshot, folder: Path) -> StoreCheck:
    """The check with what the content of the files in a folder says, in place of checksums that there may not be."""
    there = ((file.path, folder / file.path) for file in snapshot.files)
    contents = ((path, hash_file(file)) for path, file in there if file.is_file())
    # A store's checksum may change with how a file was written, and says nothing where the content is known.
    certain = [problem for problem in check.problems if problem.kind != "checksum"]
    known = {problem.path for problem in certain}
    found = (problem for problem in check_contents(snapshot, contents) if problem.path not in known)
    return replace(check, compared="content", problems=(*certain, *found), unverified=())
