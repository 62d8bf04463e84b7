"""Versions of a store that is a repository itself: its manifest stops listing them before they are removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from serve_deploy.errors import ServeError
from serve_deploy.pruning.versions import JudgedVersions, PrunedVersion, judge_versions
from serve_deploy.stores.manifests import make_snapshot, parse_snapshot
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.store import Store, StoredFile

FIXED_MANIFEST, FIXED_SIGNATURE = "snapshot.json", "snapshot.sigstore.json"
# What `judge_versions` reads; of all else it only wants to know that it is there, and how large.
_READ = ("config.pbtxt", "manifest.json", ".pbtxt")


def judge_fixed(store: Store, models: Collection[str]) -> JudgedVersions:
    """The versions that no policy serves, as those of a folder are judged."""
    files = list_models(store)
    with TemporaryDirectory(prefix="serve-prune-") as folder:
        _sketch(store, files, Path(folder))
        try:
            return judge_versions(Path(folder), models, str(store.address))
        except ServeError as error:
            told = error.message.replace(folder, str(store.address))
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
    small = store.read(FIXED_MANIFEST)
    if small is not None:
        listed = parse_snapshot(store, FIXED_MANIFEST, small.content)
        left = make_snapshot([file for file in listed.files if not file.path.startswith(folders)])
        # It was made of other files.
        store.delete([FIXED_SIGNATURE])
        store.write(FIXED_MANIFEST, (left.model_dump_json(indent=1) + "\n").encode(), expected=small.tag)
    store.delete([path for path in list_models(store) if path.startswith(folders)])


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
