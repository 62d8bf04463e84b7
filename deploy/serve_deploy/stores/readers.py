"""Where a pull reads from: a store's snapshot, or an image's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_deploy.progress import Progress
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests import find_snapshot, stored_path
from serve_deploy.stores.model_signature import signature_path
from serve_deploy.stores.opening import open_store
from serve_deploy.stores.receiving import Received, Source, receive
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import Store


class SnapshotReader(Protocol):
    """One snapshot, ready to be received."""

    @property
    def address(self) -> StoreAddress:
        """The store that it is in."""

    @property
    def snapshot(self) -> Snapshot:
        """What it holds."""

    def read_signature(self) -> bytes | None:
        """The bundle that signs it, the newest where there are several, or None."""

    def receive(
        self,
        files: Sequence[SnapshotFile],
        folder: Path,
        *,
        local: Mapping[str, Path],
        concurrency: int,
        progress: Progress,
    ) -> Received:
        """Put files into a folder, by their paths; `local` are files that have a sha256 already.

        VerificationError where what arrives is not what the snapshot says.
        """


@dataclass(frozen=True)
class _StoreReader:
    store: Store
    snapshot: Snapshot

    @property
    def address(self) -> StoreAddress:
        return self.store.address

    def read_signature(self) -> bytes | None:
        small = self.store.read(signature_path(self.snapshot.id))
        return small.content if small else None

    def receive(
        self,
        files: Sequence[SnapshotFile],
        folder: Path,
        *,
        local: Mapping[str, Path],
        concurrency: int,
        progress: Progress,
    ) -> Received:
        source = Source(self.store, stored_path(self.snapshot.id, ""), local)
        return receive(source, files, folder, concurrency=concurrency, progress=progress)


def open_reader(address: StoreAddress) -> SnapshotReader:
    """The snapshot that an address names, or the current one.

    UsageError where there is none; VerificationError where its manifest is damaged.
    """
    if address.kind == "oci":
        from serve_deploy.stores.oci import open_image

        return open_image(address)
    store = open_store(address)
    return _StoreReader(store, find_snapshot(store, address.snapshot))
