"""What push, pull, check and prune ask of a store: files by path, and one small file that changes only as expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_deploy.errors import DestinationError, EndpointError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.snapshot import SnapshotFile

# Told how many bytes more were sent or received.
OnBytes = Callable[[int], None]


class StoreChangedError(DestinationError):
    """A small file was not what the writer had read: another run wrote it meanwhile."""


class StoreUnreachableError(EndpointError):
    """The connection broke, or the store was too busy, also after the backend's own attempts: worth another try."""


class SourceChangedError(DestinationError):
    """A file that was sent is not the one that was hashed."""

    def __init__(self, source: Path) -> None:
        super().__init__(f"{source} changed while it was sent", hint="push again when nothing writes to it")


@dataclass(frozen=True)
class StoredFile:
    """A file of a store; `checksum` is the store's own, such as "etag:9e10…" or "md5:…", or empty."""

    path: str
    size_bytes: int
    checksum: str = ""
    modified_seconds: float | None = None


@dataclass(frozen=True)
class UnfinishedUpload:
    """A large file of which parts were sent, and no more: the store keeps them; `size_bytes` are in it so far."""

    path: str
    id: str
    begun_seconds: float
    size_bytes: int


@dataclass(frozen=True)
class SmallFile:
    """A small file's content, and what tells this writing of it from every other."""

    content: bytes
    tag: str


class Store(Protocol):
    """Files below the store's address, by relative paths with slashes. Safe to call from several threads at once.

    Every call raises EndpointError where the store cannot be reached or refuses (a permission, a bucket that is not
    there, a clock that is wrong), and DestinationError where nothing can be written, each in words and with a hint;
    what is worth another try is retried inside, with backoff.
    """

    @property
    def address(self) -> StoreAddress:
        """Where it is, without a snapshot."""

    def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
        """Every file whose path begins with a folder (`snapshots/ID/`), by path; empty where there is none."""

    def read(self, path: str) -> SmallFile | None:
        """A small file, or None where there is none."""

    def write(self, path: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write a small file whole, where it still has the tag `expected` (None: where it does not exist).

        StoreChangedError where it has another.
        """

    def upload(self, source: Path, file: SnapshotFile, path: str, on_bytes: OnBytes) -> StoredFile:
        """Send a local file; what arrives has been compared with the content (checksums on the wire), or it raises.

        SourceChangedError where what was read is not the file's sha256; nothing is at `path` then. What `on_bytes`
        raises ends the transfer.
        """

    def copy(self, source: str, target: str, *, checksum: str = "") -> StoredFile | None:
        """Copy inside the store, without sending; None where it cannot, or the source is gone.

        None, too, where the source has another checksum than this one of the store's own. The copy may have another.
        """

    def download(self, path: str, target: Path, on_bytes: OnBytes) -> None:
        """Receive a file into a local one that does not exist yet; the caller compares its sha256."""

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files; one that is not there is no error."""

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:
        """Uploads below a folder that were begun and not ended, where the store does not forget them by itself."""

    def abandon(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload; one that is gone is no error."""
