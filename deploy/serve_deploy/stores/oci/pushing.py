"""Push a model repository as an image: layers and documents first, the tag that names it last."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.errors import UsageError
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.claims import claim_image, is_recorded
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import (
    LAYER_TYPE,
    Blob,
    Descriptor,
    ImageDocuments,
    StoredLayer,
    build_documents,
)
from serve_deploy.stores.oci.downloading import read_tag
from serve_deploy.stores.oci.layers import LayerFiles, LayerSource, group_files
from serve_deploy.stores.oci.logins import WRITE
from serve_deploy.stores.oci.reading import StoredImage
from serve_deploy.stores.oci.reference import ImageReference, snapshot_tag, writable_reference
from serve_deploy.stores.oci.signatures import write_signature
from serve_deploy.stores.oci.uploading import has_blob, put_manifest, send_layer, send_small
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes, StoreChangedError
from serve_deploy.stores.transfer.contents import LocalFile
from serve_deploy.stores.transfer.transfer import Tally, transfer


@dataclass(frozen=True, kw_only=True)
class ImagePush:
    """How to push.

    With `only_from_current`, the tag must name the current image until the end. `signature` is found by whoever reads
    the new image, from the first instant on. A dry run sends nothing.
    """

    concurrency: int = 8
    only_from_current: bool = False
    signature: bytes | None = None
    dry_run: bool = False
    progress: Progress = silent
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class PushedImage:
    """An image as it was pushed.

    `replaced` is the digest that the tag named before, and `overtaken` the one that another push gave it meanwhile.
    """

    reference: ImageReference
    digest: str
    snapshot: Snapshot
    sent_layers: int
    kept_layers: int
    sent_paths: frozenset[str]
    sent_bytes: int
    replaced: str | None
    overtaken: str | None

    @property
    def pinned(self) -> str:
        """registry/repository@sha256:…, as Kubernetes takes it."""
        return str(self.reference.at(self.digest))


def push_image(
    local: Mapping[str, LocalFile],
    snapshot: Snapshot,
    address: StoreAddress,
    current: StoredImage | None,
    options: ImagePush,
) -> PushedImage:
    """Push a snapshot whose files are local, or in the `current` image of the same repository.

    The tag is put last, in one step: a reader sees the old image or the new one, whole. What the registry has is not
    sent again. SourceChangedError where a file is not what the snapshot says; StoreChangedError where the tag does not
    name the current image; EndpointError and DestinationError where the registry refuses.
    """
    reference = writable_reference(address)
    with Connection(reference, rights=WRITE, sleep=options.sleep) as connection:
        return _Push(connection, local, snapshot, current, options).run()


def find_sharers(snapshot: Snapshot, local: Collection[str], current: StoredImage | None) -> tuple[SnapshotFile, ...]:
    """The files that are not local, and in no layer of the current image that the new one can keep as it is."""
    kept = {layer.listing for layer in current.layers} if current else set()
    groups = [group for group in group_files(snapshot.files) if group.listing not in kept]
    return tuple(file for group in groups for file in group.files if file.path not in local)


@dataclass(frozen=True)
class _PlannedLayer:
    """A layer of the new image, and what to send of it; None where the registry has it."""

    stored: StoredLayer
    source: LayerSource | None


class _Push:
    """One push."""

    def __init__(
        self,
        connection: Connection,
        local: Mapping[str, LocalFile],
        snapshot: Snapshot,
        current: StoredImage | None,
        options: ImagePush,
    ) -> None:
        self._connection = connection
        self._local = local
        self._snapshot = snapshot
        self._current = current
        self._options = options

    def run(self) -> PushedImage:
        tag = self._connection.reference.version
        before = read_tag(self._connection, tag)
        self._refuse_others(before)
        groups = group_files(self._snapshot.files)
        planned = self._plan_all(groups)
        layers = [layer.stored for layer in planned]
        if not self._options.dry_run:
            missing = sorted((layer for layer in planned if layer.source), key=lambda layer: -layer.stored.blob.size)
            tally = Tally("sending", sum(layer.stored.blob.size for layer in missing), self._options.progress)
            transfer(missing, self._send, concurrency=self._options.concurrency, tally=tally)
        documents = build_documents(self._snapshot, layers)
        if self._options.dry_run:
            return self._result(documents, planned, before, None)
        self._send_documents(documents, tag, before)
        overtaken = self._point(tag, documents.index, before)
        return self._result(documents, planned, before, overtaken)

    def _refuse_others(self, now: str | None) -> None:
        expected = self._current.digest if self._current else None
        if self._options.only_from_current and now != expected:
            raise StoreChangedError(
                f"another push moved {self._connection.reference} to {now} meanwhile",
                hint="start again from what it names now",
            )

    def _plan_all(self, groups: Sequence[LayerFiles]) -> list[_PlannedLayer]:
        kept = {group.title: self._reuse(group) for group in groups if not self._is_local(group)}
        sources = [LayerSource(group, self._local) for group in groups if group.title not in kept]
        planned = {title: _PlannedLayer(layer, None) for title, layer in kept.items()}

        def plan(source: LayerSource, on_bytes: OnBytes) -> None:
            planned[source.files.title] = self._plan(source, on_bytes)

        tally = Tally("reading", sum(source.size_bytes for source in sources), self._options.progress)
        transfer(sources, plan, concurrency=self._options.concurrency, tally=tally)
        return [planned[group.title] for group in groups]

    def _is_local(self, group: LayerFiles) -> bool:
        return all(file.path in self._local for file in group.files)

    def _plan(self, source: LayerSource, on_bytes: OnBytes) -> _PlannedLayer:
        digest = source.digest(on_bytes)
        blob = Descriptor(mediaType=LAYER_TYPE, digest=digest, size=source.size_bytes)
        is_there = has_blob(self._connection, digest) is not None
        stored = StoredLayer(source.files.title, source.files.files, blob, digest)
        return _PlannedLayer(stored, None if is_there else source)

    def _send(self, layer: _PlannedLayer, on_bytes: OnBytes) -> None:
        if layer.source:
            send_layer(self._connection, layer.source, layer.stored.blob.digest, on_bytes)

    def _reuse(self, group: LayerFiles) -> StoredLayer:
        for layer in self._current.layers if self._current else ():
            if layer.listing == group.listing:
                return StoredLayer(group.title, group.files, layer.blob, layer.diff_id)
        raise UsageError(
            f"{self._connection.reference} has no layer {group.title} of its own to keep",
            hint="pull the whole repository and push all of it",
        )

    def _send_documents(self, documents: ImageDocuments, tag: str, before: str | None) -> None:
        identity, index = self._snapshot.id, documents.index
        for config in documents.configs:
            send_small(self._connection, config)
        self._put_by_digest(documents)
        if before != index.digest or not is_recorded(self._connection, identity, tag):
            claim_image(self._connection, index, identity, tag)
            # A prune that ended before it could see the claim may have removed some.
            self._put_by_digest(documents)
        if self._options.signature is not None:
            write_signature(self._connection, index, self._options.signature)
        put_manifest(self._connection, index, snapshot_tag(identity))

    def _put_by_digest(self, documents: ImageDocuments) -> None:
        for manifest in (*documents.manifests, documents.index):
            put_manifest(self._connection, manifest, manifest.digest)

    def _point(self, tag: str, index: Blob, before: str | None) -> str | None:
        """Put the tag, and tell what another push had put there since `before` was read."""
        now = read_tag(self._connection, tag)
        self._refuse_others(now)
        put_manifest(self._connection, index, tag)
        return now if now not in (before, index.digest) else None

    def _result(
        self, documents: ImageDocuments, planned: Sequence[_PlannedLayer], before: str | None, overtaken: str | None
    ) -> PushedImage:
        digest = documents.index.digest
        sent = [layer.stored for layer in planned if layer.source]
        return PushedImage(
            reference=self._connection.reference,
            digest=digest,
            snapshot=self._snapshot,
            sent_layers=len(sent),
            kept_layers=len(planned) - len(sent),
            sent_paths=frozenset(file.path for layer in sent for file in layer.files),
            sent_bytes=sum(layer.blob.size for layer in sent),
            replaced=before if before != digest else None,
            overtaken=overtaken,
        )
