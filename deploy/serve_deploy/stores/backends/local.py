"""A folder of this machine, or one that it mounts, as a store."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

from serve_deploy.errors import DestinationError, EndpointError
from serve_deploy.files.copying import copy_file
from serve_deploy.files.staging import STAGING_PREFIX, destination_errors, folder_lock
from serve_deploy.files.temporary import TEMPORARY_PREFIX, make_temporary, remove_temporary
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import (
    OnBytes,
    SmallFile,
    SourceChangedError,
    StoreChangedError,
    StoredFile,
    UnfinishedUpload,
)

_PIECE = 1 << 20
# What is on its way to its place, of this and other runs.
_SMALL_DRAFT = ".serve-small.draft"
_OURS = (TEMPORARY_PREFIX, STAGING_PREFIX)


def is_whole(path: Path, file: SnapshotFile) -> bool:
    """Whether a file of this machine is the one that a snapshot lists."""
    try:
        return path.stat().st_size == file.size_bytes and hash_file(path) == file.sha256
    except OSError:
        return False


class LocalStore:
    """Files below a folder; what is written appears whole, by a rename, once it is on the disk."""

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._root = Path(address.location)
        self._drafts: Path | None = None
        self._lock = threading.Lock()
        self._locker: int | None = None

    @property
    def address(self) -> StoreAddress:
        return self._address

    def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
        start = self._root / prefix.rpartition("/")[0]
        with _reading(start):
            found = (Path(folder, name) for folder, _, names in os.walk(start, onerror=_raise) for name in names)
            files = {path.relative_to(self._root).as_posix(): path for path in found if not path.is_symlink()}
            names = sorted(path for path in files if path.startswith(prefix) and not path.startswith(_OURS))
            listed = (_list(path, files[path]) for path in names)
            return {file.path: file for file in listed if file}

    def read(self, path: str) -> SmallFile | None:
        try:
            with _reading(self._root / path), (self._root / path).open("rb") as stream:
                return SmallFile(content := stream.read(), _tag(stream.fileno(), content))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes, *, expected: str | None) -> SmallFile:
        target = self._root / path
        with destination_errors(target):
            self._root.mkdir(parents=True, exist_ok=True)
            with self._lock_root():
                current = self.read(path)
                if (current.tag if current else None) != expected:
                    raise StoreChangedError(f"{target} was changed by another run", hint="try again")
                # Not in a folder: Triton would take it for a model where this is one that it serves.
                draft = self._root / _SMALL_DRAFT
                try:
                    with draft.open("wb") as stream:
                        stream.write(content)
                        stream.flush()
                        os.fsync(stream.fileno())
                        tag = _tag(stream.fileno(), content)
                    _move(draft, target)
                finally:
                    draft.unlink(missing_ok=True)
        return SmallFile(content, tag)

    def upload(self, source: Path, file: SnapshotFile, path: str, on_bytes: OnBytes) -> StoredFile:
        digest = hashlib.sha256()
        with self._draft(path) as draft, draft.open("xb") as writer:
            for piece in _read_pieces(source):
                digest.update(piece)
                writer.write(piece)
                on_bytes(len(piece))
            writer.flush()
            os.fsync(writer.fileno())
            if digest.hexdigest() != file.sha256:
                raise SourceChangedError(source)
        return _describe(path, self._root / path)

    def copy(self, source: str, target: str, *, checksum: str = "") -> StoredFile | None:  # noqa: ARG002 - it has none
        try:
            with self._draft(target) as draft:
                copy_file(self._root / source, draft)
                with draft.open("rb") as written:
                    os.fsync(written.fileno())
        except DestinationError:
            if (self._root / source).is_file():
                raise
            return None
        return _describe(target, self._root / target)

    def download(self, path: str, target: Path, on_bytes: OnBytes) -> None:
        with destination_errors(target.parent), target.open("xb") as writer:
            for piece in _read_pieces(self._root / path):
                writer.write(piece)
                on_bytes(len(piece))

    def delete(self, paths: Sequence[str]) -> None:
        if not self._root.is_dir():
            return
        # No empty folder goes while another run writes a small file into it.
        with destination_errors(self._root), self._lock_root():
            for path in paths:
                file = self._root / path
                file.unlink(missing_ok=True)
                for folder in file.parents:
                    if folder == self._root or not _remove_if_empty(folder):
                        break

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:  # noqa: ARG002 - drafts go with their lock
        return ()

    def abandon(self, upload: UnfinishedUpload) -> None:
        """There are none."""

    def holds(self, path: str, file: SnapshotFile) -> bool:
        """Whether a file has the content that a snapshot lists; it is read for that."""
        return is_whole(self._root / path, file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing small files, and from moving models into the root, while this thread does."""
        with destination_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._root):
                self._locker = threading.get_ident()
                try:
                    yield
                finally:
                    self._locker = None

    def _lock_root(self) -> AbstractContextManager[None]:
        # Not the folder of the file: another run may remove that, where it is empty, and make it anew.
        return nullcontext() if self._locker == threading.get_ident() else folder_lock(self._root)

    @contextmanager
    def _draft(self, path: str) -> Iterator[Path]:
        """A new file that takes its place at the end of the block, or goes."""
        with destination_errors(self._root):
            draft, target = self._drafts_folder() / uuid4().hex, self._root / path
            try:
                yield draft
                _move(draft, target)
            finally:
                draft.unlink(missing_ok=True)

    def _drafts_folder(self) -> Path:
        with self._lock:
            if self._drafts is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._drafts = make_temporary("store", self._root)
                weakref.finalize(self, remove_temporary, self._drafts)
            return self._drafts


def _move(draft: Path, target: Path) -> None:
    # Another run may clear up the folder where it is empty, just after it was made, or while it is.
    for _attempt in range(10):
        with suppress(FileNotFoundError, FileExistsError):
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
            return
    draft.replace(target)


def _read_pieces(path: Path) -> Iterator[bytes]:
    try:
        with _reading(path), path.open("rb") as reader:
            while piece := reader.read(_PIECE):
                yield piece
    except FileNotFoundError:
        raise EndpointError(f"{path} is gone", hint="another run may have removed it; try again") from None


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _list(path: str, file: Path) -> StoredFile | None:
    """None where another run has removed it meanwhile."""
    with suppress(FileNotFoundError):
        return _describe(path, file)
    return None


def _describe(path: str, file: Path) -> StoredFile:
    status = file.stat()
    return StoredFile(path, status.st_size, modified_seconds=status.st_mtime)


def _tag(handle: int, content: bytes) -> str:
    status = os.fstat(handle)
    return f"{status.st_ino}-{status.st_mtime_ns}-{hashlib.sha256(content).hexdigest()}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A missing file is the caller's to judge; all else is the store's refusal."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EndpointError(f"{path} cannot be read: {reason}", hint="check who may read that folder") from error
