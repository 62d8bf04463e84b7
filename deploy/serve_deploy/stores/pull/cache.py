"""Snapshots of stores as folders of this machine, received once: what `serve run s3://…` starts on."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serve_deploy.errors import DestinationError, UsageError, VerificationError
from serve_deploy.files.staging import destination_errors
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.manifests.manifests import (
    list_snapshot_ids,
    make_snapshot,
    manifest_path,
    read_snapshot,
    stored_path,
    write_snapshot,
)
from serve_deploy.stores.pull.cache_room import hold, make_room, read_bound
from serve_deploy.stores.pull.readers import open_trusted
from serve_deploy.stores.signing.trust import Trust
from serve_deploy.stores.snapshot import Snapshot

_CONCURRENCY = 8


def cache_folder() -> Path:
    """Where snapshots are kept: $SERVE_CACHE, or serve in $XDG_CACHE_HOME, or ~/.cache/serve."""
    if given := os.environ.get("SERVE_CACHE", ""):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "serve"


def pull_into_cache(
    address: StoreAddress, *, models: Collection[str] = (), trust: Trust | None = None, progress: Progress = silent
) -> Path:
    """A folder that is a whole repository: the snapshot that an address names, or the store's current one.

    With `models`, only those of them that the snapshot has. The folder is the cache's: it is not to be changed, and it
    stays there as long as this process lives. EmptyStoreError where nothing was pushed, UsageError where there is no
    such snapshot, SignatureError where it is not signed as required, VerificationError where a file is damaged;
    EndpointError where the store cannot be reached.
    """
    progress(f"reading {address}")
    reader, _signed_by = open_trusted(address, trust)
    wanted = [file for file in reader.snapshot.files if not models or file.model in models]
    snapshot = reader.snapshot if len(wanted) == len(reader.snapshot.files) else make_snapshot(wanted)
    folder = cache_folder().absolute()
    cache = LocalStore(StoreAddress("local", str(folder)))
    repository = folder / stored_path(snapshot.id, "")
    bound = read_bound()
    try:
        with _explaining(folder):
            hold(folder, snapshot.id)
    except DestinationError:
        # A cache that cannot be written to, such as a read-only volume, serves what it has.
        if not _is_cached(cache, folder, snapshot):
            raise
    if not _is_cached(cache, folder, snapshot):
        with _explaining(folder):
            parts = make_temporary("cache", folder)
        try:
            reader.receive(
                snapshot.files, repository, parts=parts, local=_list_local(cache, folder),
                concurrency=_CONCURRENCY, progress=progress,
            )  # fmt: skip
            write_snapshot(cache, snapshot)
        finally:
            remove_temporary(parts)
        make_room(cache, folder, bound, progress)
    return repository


def pull_models_into_cache(
    address: StoreAddress, models: Collection[str], *, trust: Trust | None = None, progress: Progress = silent
) -> Path:
    """A folder with some models of a snapshot, and with the members of the ensembles among them; of all without names.

    Raises as `pull_into_cache` does, and UsageError where the snapshot has no such model.
    """
    wanted = set(models)
    while True:
        folder = pull_into_cache(address, models=wanted, trust=trust, progress=progress)
        for name in sorted(models):
            if not (folder / name).is_dir():
                raise UsageError(f"{address} has no model '{name}'", hint=f"list them: serve snapshots {address.root}")
        members = {member for name in wanted for member in read_model_folder(folder / name).members}
        if members <= wanted:
            return folder
        wanted |= members


@contextmanager
def _explaining(folder: Path) -> Iterator[None]:
    try:
        with destination_errors(folder):
            yield
    except DestinationError as error:
        # Who runs a snapshot named no folder, and a pod's HOME is often read-only.
        raise DestinationError(error.message, hint="SERVE_CACHE names another folder for the cache") from error


def _is_cached(cache: LocalStore, folder: Path, snapshot: Snapshot) -> bool:
    """Whether all of it is there; what is there was compared when it came."""
    manifest = folder / manifest_path(snapshot.id)
    # One that another user filled, or that is read-only, serves as well.
    with suppress(OSError):
        os.utime(manifest)
    if not manifest.is_file():
        return False
    sizes = {path: file.size_bytes for path, file in cache.list_files(stored_path(snapshot.id, "")).items()}
    return all(sizes.get(stored_path(snapshot.id, file.path)) == file.size_bytes for file in snapshot.files)


def _list_local(cache: LocalStore, folder: Path) -> dict[str, Path]:
    """By sha256, the files of all cached snapshots."""
    found = {}
    for identity, _written in list_snapshot_ids(cache):
        with suppress(VerificationError):
            snapshot = read_snapshot(cache, identity)
            for file in snapshot.files if snapshot else ():
                found[file.sha256] = folder / stored_path(identity, file.path)
    return found
