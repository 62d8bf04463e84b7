"""Check a model store: its files against the snapshot's manifest, its models in Triton, and what a server serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import RepositoryCheck, check_repository
from serve_deploy.checking.served_snapshot import ServedSnapshot, compare_served, read_configured
from serve_deploy.checking.stored_files import check_stored, compare_contents, download_all
from serve_deploy.errors import UsageError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests.verification import FileProblem
from serve_deploy.stores.pull.readers import SnapshotReader, open_trusted
from serve_deploy.stores.signing.trust import open_trust

Compared = Literal["sizes", "checksums", "content"]


@dataclass(frozen=True)
class StoreCheck:
    """A snapshot's files, compared by the store's own checksums or by content; `unverified` have only the right size.

    In a registry that is the size of the layers that they are in.

    `signed_by` is whose signature was required and found. `repository` is the check of its models, where it was
    downloaded and undamaged; `served` that of a running server.
    """

    store: str
    snapshot: str
    models: tuple[str, ...]
    files: int
    size_bytes: int
    compared: Compared
    problems: tuple[FileProblem, ...]
    unverified: tuple[str, ...]
    signed_by: str | None = None
    repository: RepositoryCheck | None = None
    served: ServedSnapshot | None = None


def check_store(options: CheckOptions, *, progress: Progress = silent) -> StoreCheck:
    """Compare every file of a store's snapshot with its manifest, without downloading it unless that is asked for.

    UsageError where it is no store or has no such snapshot; VerificationError where the manifest itself is damaged, or
    an image's content; EndpointError where the store, or the server at `url`, does not answer.
    """
    address = options.repository
    if not isinstance(address, StoreAddress):
        raise UsageError(f"{address} is not a store", hint="check_repository checks a folder")
    progress(f"reading {address}")
    reader, signed_by = open_trusted(address, open_trust(options.trust))
    check = replace(_check_files(address, reader), signed_by=signed_by)
    if options.download:
        with _temporary() as folder:
            download_all(address, reader, folder, progress)
            check = _with_contents(check, reader, folder)
            if not check.problems:
                own = replace(options, repository=folder, download=False, url=None)
                loaded = check_repository(own, progress=progress)
                check = replace(check, repository=replace(loaded, repository=check.store))
    if options.url is not None:
        progress(f"asking {options.url}")
        with _temporary() as folder:
            models = read_configured(reader, folder, options.model_config_name)
        check = replace(check, served=compare_served(models, options.url))
    return check


def _check_files(address: StoreAddress, reader: SnapshotReader) -> StoreCheck:
    """By what the store lists; a local one by content, which is as near."""
    snapshot, listing = reader.snapshot, check_stored(address, reader)
    check = StoreCheck(
        store=str(address if address.kind == "oci" else address.root), snapshot=snapshot.id,
        models=snapshot.models, files=len(snapshot.files),
        size_bytes=snapshot.size_bytes, compared="sizes" if address.kind == "oci" else "checksums",
        problems=listing.problems, unverified=listing.unverified,
    )  # fmt: skip
    return _with_contents(check, reader, listing.folder) if listing.folder else check


def _with_contents(check: StoreCheck, reader: SnapshotReader, folder: Path) -> StoreCheck:
    problems = compare_contents(reader.snapshot, check.problems, folder)
    return replace(check, compared="content", problems=problems, unverified=())


@contextmanager
def _temporary() -> Iterator[Path]:
    place = make_temporary("check")
    try:
        folder = place / "models"
        folder.mkdir()
        yield folder
    finally:
        remove_temporary(place)
