"""What a local model repository holds, as a snapshot names it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.files.staging import folder_lock
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_folder import list_folders, read_models
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes
from serve_deploy.stores.transfer.transfer import Tally, transfer

# Object stores have no empty folder, and Triton wants the version's folder of an ensemble.
PLACEHOLDER = ".gitkeep"
_READERS = 4
# What Python makes of a model's code where it runs, and makes again.
_COMPILED = "__pycache__"
EMPTY_SHA256 = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class LocalFile:
    """A file of a repository: its name in a snapshot, where it is (None: it is empty), and its state when hashed."""

    file: SnapshotFile
    source: Path | None
    state: tuple[int, int] = (0, 0)


def read_contents(repository: Path, models: Collection[str] = (), progress: Progress = silent) -> tuple[LocalFile, ...]:
    """Every file of the models' folders, hashed, sorted by path; of all models where none is named.

    Links inside the repository are followed. UsageError where the folder is no repository or lacks a model;
    InvalidModelError where a model cannot be read, a link leads outside, or a name cannot be kept in every store.
    """
    folders = {path.name: path for path in list_folders(repository) if not path.name.startswith(".")}
    read_models(repository)
    for name in models:
        if name not in folders:
            raise UsageError(f"{repository} has no model '{name}'", hint=f"it has {', '.join(folders)}")
    return hash_models(repository, sorted(models or folders), progress)


def hash_models(
    repository: Path,
    names: Collection[str],
    progress: Progress = silent,
    *,
    known: Callable[[str, Path], str | None] = lambda _path, _file: None,
    links_out: bool = False,
) -> tuple[LocalFile, ...]:
    """Every file of these folders, whether or not they are models, as `read_contents` has them.

    `known` may tell a file's sha256 without reading it; with `links_out` links are followed wherever they lead.
    """
    root = repository.resolve()
    with folder_lock(repository):
        found = {
            path: file
            for name in names
            for path, file in _walk(name, repository / name, None if links_out else root, ())
        }
        if bad := find_bad_path(sorted(found)):
            raise InvalidModelError(f"{repository}: {bad}", hint="rename it")
        return _hash_all(found, known, progress)


def file_state(path: Path) -> tuple[int, int]:
    """What changes when a file is written again: its size and the time of its last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _hash_all(
    found: Mapping[str, Path | None], known: Callable[[str, Path], str | None], progress: Progress
) -> tuple[LocalFile, ...]:
    hashed: dict[str, LocalFile] = {}

    def read(path: str, on_bytes: OnBytes) -> None:
        hashed[path] = each = _hash(path, found[path], known)
        on_bytes(each.file.size_bytes)

    # A file that is gone by now is an error where it is read.
    total = sum(source.stat().st_size for source in found.values() if source and source.exists())
    transfer(list(found), read, concurrency=_READERS, tally=Tally("reading", total, progress))
    return tuple(hashed[path] for path in sorted(found))


def _hash(path: str, source: Path | None, known: Callable[[str, Path], str | None]) -> LocalFile:
    if source is None:
        return LocalFile(SnapshotFile(path=path, sha256=EMPTY_SHA256, size_bytes=0), None)
    try:
        state = file_state(source)
        sha256 = known(path, source) or hash_file(source)
        return LocalFile(SnapshotFile(path=path, sha256=sha256, size_bytes=state[0]), source, state)
    except OSError as error:
        raise _unreadable(source, error) from error


def _walk(name: str, path: Path, root: Path | None, above: tuple[Path, ...]) -> Iterator[tuple[str, Path | None]]:
    real = path.resolve()
    if root is not None and not real.is_relative_to(root):
        raise InvalidModelError(
            f"{path} is a link to {real}, outside the repository", hint="put a copy in place of the link"
        )
    if real in above:
        raise InvalidModelError(f"{path} is a link to a folder that it is in", hint="remove the link")
    if path.is_file():
        yield name, real
        return
    if not path.is_dir():
        raise InvalidModelError(f"{path} is neither a file nor a folder", hint="remove it, or put a file in its place")
    try:
        entries = sorted(entry for entry in path.iterdir() if entry.name != _COMPILED)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not entries:
        yield f"{name}/{PLACEHOLDER}", None
    for entry in entries:
        yield from _walk(f"{name}/{entry.name}", entry, root, (*above, real))


def _unreadable(path: Path, error: OSError) -> InvalidModelError:
    return InvalidModelError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}")
