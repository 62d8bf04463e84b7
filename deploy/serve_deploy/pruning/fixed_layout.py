"""Versions of a store that is a repository itself: its manifest stops listing them before they are removed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serve_deploy.errors import ServeError
from serve_deploy.files.temporary import temporary_folder
from serve_deploy.pruning.versions import JudgedVersions, PrunedVersion, judge_versions
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.manifests.manifests import FIXED_SIGNATURE, make_snapshot, read_fixed, write_fixed
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.push.fixed_journal import JOURNAL_NAME, Journal, holding, read_journal
from serve_deploy.stores.store import Store, StoreChangedError, StoredFile

# What `judge_versions` reads; of all else it only wants to know that it is there, and how large.
_READ = ("config.pbtxt", "manifest.json", ".pbtxt")


def judge_fixed(store: Store, models: Collection[str]) -> JudgedVersions:
    """The versions that no policy serves, as those of a folder are judged."""
    files = list_models(store)
    with temporary_folder("prune") as folder:
        _sketch(store, files, folder)
        try:
            return judge_versions(folder, models, str(store.address))
        except ServeError as error:
            told = error.message.replace(str(folder), str(store.address))
            raise type(error)(told, hint=error.hint) from error


def list_models(store: Store) -> Mapping[str, StoredFile]:
    """The files of the model folders."""
    return {
        path: file
        for path, file in store.list_files("").items()
        if "/" in path and not path.startswith((".", "snapshots/", "claims/", "removals/"))
    }


def remove_fixed(store: Store, versions: Collection[PrunedVersion]) -> None:
    """Take the versions out of the manifest, then remove them; StoreChangedError where a push writes it meanwhile."""
    folders = tuple(f"{each.model}/{each.version}/" for each in versions)
    listed, tag = read_fixed(store)
    files = listed.files if listed else ()
    left = make_snapshot([file for file in files if not file.path.startswith(folders)])
    gone = tuple(file for file in files if file.path.startswith(folders))
    with _keeping_out(store, Journal(snapshot=left, gone=gone), tag):
        if listed is not None:
            store.delete([FIXED_SIGNATURE])  # it was made of other files
            write_fixed(store, left, tag, None)
        store.delete([path for path in list_models(store) if path.startswith(folders)])


@contextmanager
def _keeping_out(store: Store, journal: Journal, tag: str | None) -> Iterator[None]:
    """No push plans on what goes: in a folder it waits, in a bucket the journal of a push stands meanwhile."""
    before = read_journal(store)
    is_own = before is not None and before.snapshot.id == journal.snapshot.id
    if store.read(JOURNAL_NAME) is not None and not is_own:
        raise StoreChangedError(
            f"a push to {store.address} is under way, or was interrupted", hint="let it end, or push again; then prune"
        )
    with store.locked() if isinstance(store, LocalStore) else holding(store, journal, before, tag, time.sleep):
        yield


def _sketch(store: Store, files: Mapping[str, StoredFile], folder: Path) -> None:
    """A folder with the same files: the small ones that are read, and the others as holes of their sizes."""
    for path, file in files.items():
        if find_bad_path([path]):
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        small = store.read(path) if path.endswith(_READ) else None
        with target.open("wb") as stream:
            if small is not None:
                stream.write(small.content)
            else:
                stream.truncate(file.size_bytes)
