"""Tags of a repository: list its snapshots, and point a tag to another."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.claims import claim_image, is_recorded
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import Blob
from serve_deploy.stores.oci.downloading import list_tags, read_manifest, read_tag
from serve_deploy.stores.oci.logins import WRITE
from serve_deploy.stores.oci.namings import find_previous, read_namings
from serve_deploy.stores.oci.reading import StoredImage, find_lost_blobs, read_stored
from serve_deploy.stores.oci.reference import read_reference, tagged_snapshot, writable_reference
from serve_deploy.stores.oci.uploading import put_manifest
from serve_deploy.stores.snapshot import Snapshot

_CONCURRENCY = 8


@dataclass(frozen=True)
class DescribedImage:
    """A kept snapshot, or what is wrong with it; `named_seconds` is when a tag was last pointed to it, if recorded."""

    id: str
    snapshot: Snapshot | None
    problem: str = ""
    named_seconds: float | None = None


@dataclass(frozen=True)
class DescribedImages:
    """The snapshots of a repository, the newest first, and which one the address' tag named before its current one."""

    images: tuple[DescribedImage, ...]
    previous: str | None


def describe_images(address: StoreAddress, current: str | None = None) -> DescribedImages:
    """What the snapshots hold that serve pushed to a repository; none where there is none, or no repository."""
    with Connection(read_reference(address)) as connection:
        tags = list_tags(connection)
        namings = read_namings(tags)
        times = {each.snapshot: each.seconds for each in namings}
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            found = [*pool.map(lambda tag: _describe(connection, tag), [tag for tag in tags if tagged_snapshot(tag)])]
        images = [replace(each, named_seconds=times.get(each.id)) for each in found]
        images.sort(key=lambda each: (-(each.named_seconds or 0), each.id))
        previous = find_previous(namings, connection.reference.version, current) if current else None
        return DescribedImages(tuple(images), previous)


def _describe(connection: Connection, tag: str) -> DescribedImage:
    identity = tagged_snapshot(tag) or tag
    try:
        image = read_stored(connection, tag)
    except VerificationError as error:
        return DescribedImage(identity, None, error.message)
    if image is None:
        return DescribedImage(identity, None, "it was removed meanwhile")
    if image.snapshot.id != identity:
        return DescribedImage(identity, None, f"its tag was moved to {image.snapshot.id}")
    return DescribedImage(identity, image.snapshot)


def name_image(address: StoreAddress, snapshot: str) -> tuple[str, str | None]:
    """Point a tag to a kept snapshot, by how its id begins or by its digest: the digest, and the one that it replaces.

    UsageError where the repository keeps no such snapshot, or several; VerificationError where layers of it are gone.
    """
    reference = writable_reference(address)
    with Connection(reference, rights=WRITE) as connection:
        version = snapshot if re.fullmatch(r"sha256:[0-9a-f]{64}", snapshot) else _find(connection, snapshot)
        image, found = read_stored(connection, version), read_manifest(connection, version)
        if image is None or found is None:
            raise UsageError(f"{reference} has no image {snapshot}", hint=f"list them: serve snapshots {address.root}")
        digest, media_type, content = found
        _require_whole(connection, image)
        before, blob = read_tag(connection, reference.version), Blob(content, media_type)
        if before != digest or not is_recorded(connection, image.snapshot.id, reference.version):
            claim_image(connection, blob, image.snapshot.id, reference.version)
            # Once more: until it was claimed, prune might have removed it.
            _require_whole(connection, image)
        put_manifest(connection, blob, reference.version)
        return digest, before if before != digest else None


def _require_whole(connection: Connection, image: StoredImage) -> None:
    if lost := find_lost_blobs(connection, image):
        raise VerificationError(
            f"{image.reference} is damaged: {next(iter(lost.values()))}",
            hint="a registry believes that it has what it has lost: its storage needs repair",
        )


def _find(connection: Connection, start: str) -> str:
    found = sorted(tag for tag in list_tags(connection) if (tagged_snapshot(tag) or "").startswith(start))
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} snapshots that begin" if found else "no snapshot that begins"
    repository = f"{connection.reference.registry}/{connection.reference.repository}"
    raise UsageError(f"{repository} has {count} with {start}", hint=f"list them: serve snapshots oci://{repository}")
