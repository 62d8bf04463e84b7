"""Remove images from a registry, all that they consist of, and nothing that another tag leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from serve_deploy.errors import DestinationError, ServeError
from serve_deploy.stores.oci.claims import CLAIM_SECONDS
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import EMPTY, SNAPSHOT_ANNOTATION, Blob, build_manifest
from serve_deploy.stores.oci.failures import describe_refusal, reason_of
from serve_deploy.stores.oci.inventory import HeldImage, Inventory
from serve_deploy.stores.oci.namings import read_removals, removal_tag
from serve_deploy.stores.oci.reference import referrers_tag
from serve_deploy.stores.oci.signatures import list_signatures
from serve_deploy.stores.oci.uploading import put_manifest, send_small

_PARTS_ANNOTATION = "triton-serve/removes"
_REFUSED = (400, 403, 409)
_NOTHING = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Removal:
    """A snapshot that is being removed: the manifests to delete, and the mark that keeps pushes from it meanwhile.

    `tags` name the manifests, and `mark_tag` the mark: of what has one, some registries delete no manifest.
    """

    snapshot: str
    digests: tuple[str, ...]
    tags: tuple[str, ...]
    mark: Blob
    mark_tag: str


def require_deletion(connection: Connection) -> None:
    """DestinationError or EndpointError where the registry deletes nothing, or not for this user; deletes nothing."""
    _delete(connection, _NOTHING)


def begin_removal(connection: Connection, image: HeldImage, inventory: Inventory) -> Removal:
    """Mark a snapshot as being removed; the mark also names what would be left, were this run killed."""
    parts = list(inventory.list_parts(image.digests))
    for digest in image.digests:
        parts += list_signatures(connection, digest)
    return _mark(connection, image.id, parts, (*image.tags, *(referrers_tag(digest) for digest in image.digests)))


def take_over_removals(connection: Connection, inventory: Inventory) -> list[Removal]:
    """Mark anew what prunes that were killed an hour ago, or longer, have left."""
    since = connection.read_clock() - CLAIM_SECONDS
    stale = [each for each in read_removals(inventory.tags) if each.seconds < since]
    removals = []
    for each in stale:
        document = inventory.documents[inventory.tags[each.written]]
        parts = document.annotations.get(_PARTS_ANNOTATION, "").split()
        removals.append(_mark(connection, each.snapshot, [*parts, inventory.tags[each.written]], (each.written,)))
    return removals


def _mark(connection: Connection, snapshot: str, digests: Sequence[str], tags: tuple[str, ...]) -> Removal:
    notes = {SNAPSHOT_ANNOTATION: snapshot, _PARTS_ANNOTATION: " ".join(digests), "triton-serve/run": uuid4().hex}
    mark = build_manifest(EMPTY.describe(), [EMPTY.describe()], annotations=notes)
    send_small(connection, EMPTY)
    tag = removal_tag(connection.read_clock(), snapshot)
    put_manifest(connection, mark, tag)
    return Removal(snapshot, tuple(dict.fromkeys(digests)), tags, mark, tag)


def remove_image(connection: Connection, removal: Removal, kept: frozenset[str]) -> None:
    """Delete what nothing else names, what a reader begins with first; and the mark last."""
    for digest in removal.digests:
        if digest not in kept:
            _delete(connection, digest, removal.tags)
    _delete(connection, removal.mark.digest, (removal.mark_tag,))


def give_up_removals(connection: Connection, removals: Iterable[Removal]) -> None:
    """Take the marks away of what was not begun; one that stays gives way after an hour."""
    with suppress(ServeError):
        for each in removals:
            _delete(connection, each.mark.digest, (each.mark_tag,))


def _delete(connection: Connection, digest: str, tags: Sequence[str] = ()) -> None:
    doing, gone = "remove images", (200, 202, 204, 404)
    answer = connection.request("DELETE", f"manifests/{digest}", doing, expected=(*gone, *_REFUSED, 405))
    if tags and answer.status_code in _REFUSED:
        # Google's registry and the hub delete nothing that a tag names.
        for tag in tags:
            connection.request("DELETE", f"manifests/{tag}", doing, expected=gone)
        answer = connection.request("DELETE", f"manifests/{digest}", doing, expected=gone)
    if answer.status_code == 405 or "UNSUPPORTED" in answer.text:
        host = connection.reference.registry
        raise DestinationError(
            f"{host} cannot {doing}: deletion is switched off there ({reason_of(answer)})",
            hint="docker-registry deletes where REGISTRY_STORAGE_DELETE_ENABLED=true is set; others have rules of their"
            " own for old tags",
        )
    if answer.status_code in _REFUSED:
        raise describe_refusal(answer, connection.reference, doing)


def measure_freed(inventory: Inventory, removed: Iterable[HeldImage], kept: frozenset[str]) -> Mapping[str, int]:
    """Bytes that the registry can free with each image, the oldest first: of a shared layer with the last of them."""
    held = set(inventory.list_blobs(kept))
    freed = {}
    for image in reversed(list(removed)):
        blobs = inventory.list_blobs(inventory.list_parts(image.digests))
        freed[image.id] = sum(size for digest, size in blobs.items() if digest not in held)
        held |= blobs.keys()
    return freed
