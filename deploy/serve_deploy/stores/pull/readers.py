"""Where a pull reads from: a store's snapshot, or an image's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_deploy.progress import Progress
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import EmptyStoreError, Located, locate_snapshot, read_signatures
from serve_deploy.stores.signing.trust import Trust, verify_any
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import Store
from serve_deploy.stores.transfer.receiving import Received, Source, receive


class SnapshotReader(Protocol):
    """One snapshot, ready to be received."""

    @property
    def snapshot(self) -> Snapshot:
        """What it holds."""

    def read_signatures(self) -> Sequence[bytes]:
        """The bundles that sign it, the newest first."""

    def receive(
        self,
        files: Sequence[SnapshotFile],
        folder: Path,
        *,
        parts: Path,
        local: Mapping[str, Path],
        concurrency: int,
        progress: Progress,
    ) -> Received:
        """Put files into a folder, by their paths; `local` are files that have a sha256 already.

        They arrive in the folder `parts` of the same file system, which the caller removes. VerificationError where
        what arrives is not what the snapshot says.
        """


@dataclass(frozen=True)
class _StoreReader:
    store: Store
    located: Located

    @property
    def snapshot(self) -> Snapshot:
        return self.located.snapshot

    def read_signatures(self) -> Sequence[bytes]:
        return read_signatures(self.store, self.located.signature_path)

    def receive(
        self,
        files: Sequence[SnapshotFile],
        folder: Path,
        *,
        parts: Path,
        local: Mapping[str, Path],
        concurrency: int,
        progress: Progress,
    ) -> Received:
        source = Source(self.store, self.located.prefix, local)
        return receive(source, files, folder, parts=parts, concurrency=concurrency, progress=progress)


def open_reader(address: StoreAddress) -> SnapshotReader:
    """The snapshot that an address names, or the current one.

    EmptyStoreError where there is none, UsageError where it is not this one; VerificationError where its manifest is
    damaged.
    """
    if address.kind == "oci":
        from serve_deploy.stores.oci import open_image

        return open_image(address)
    store = open_store(address)
    return _StoreReader(store, locate_snapshot(store, address.snapshot))


def open_trusted(address: StoreAddress, trust: Trust | None) -> tuple[SnapshotReader, str | None]:
    """A snapshot, and who signed it where that is required; SignatureError where nobody trusted did."""
    reader = open_reader(address)
    return reader, _verify(reader, trust)


def find_trusted(store: Store, named: str | None, trust: Trust | None) -> tuple[Located, str | None]:
    """The same of a store that is open, and where the snapshot is in it."""
    reader = _StoreReader(store, locate_snapshot(store, named))
    return reader.located, _verify(reader, trust)


def _verify(reader: SnapshotReader, trust: Trust | None) -> str | None:
    return verify_any(reader.snapshot, reader.read_signatures(), trust) if trust else None


def read_current(address: StoreAddress) -> Snapshot | None:
    """The manifest of the snapshot that an address names, or the current one; None where nothing was pushed yet."""
    try:
        return open_reader(address).snapshot
    except EmptyStoreError:
        return None
