"""Tags of a repository: list its snapshots, and point a tag to another."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import Blob
from serve_deploy.stores.oci.downloading import read_manifest, read_tag
from serve_deploy.stores.oci.pushing import put_manifest
from serve_deploy.stores.oci.reading import find_lost_blobs, read_stored
from serve_deploy.stores.oci.reference import read_reference, tagged_snapshot, writable_reference
from serve_deploy.stores.snapshot import Snapshot

_CONCURRENCY = 8
_MOST_PAGES = 1000


@dataclass(frozen=True)
class DescribedImage:
    """A kept snapshot, or what is wrong with it."""

    id: str
    snapshot: Snapshot | None
    problem: str = ""


def describe_images(address: StoreAddress) -> tuple[DescribedImage, ...]:
    """What the snapshots hold that serve pushed to a repository, by id; empty where there is none, or no repository."""
    with Connection(read_reference(address)) as connection:
        tags = sorted(tag for tag in _list_tags(connection) if tagged_snapshot(tag))
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            return tuple(pool.map(lambda tag: _describe(connection, tag), tags))


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


def _list_tags(connection: Connection) -> list[str]:
    tags: list[str] = []
    where: str | None = "tags/list?n=1000"
    for _page in range(_MOST_PAGES):
        if where is None:
            break
        answer = connection.request("GET", where, "list tags", expected=(200, 404))
        if answer.status_code == 404:
            break
        tags += [str(tag) for tag in answer.json().get("tags") or ()]
        following = answer.links.get("next", {}).get("url")
        where = connection.resolve(following) if following else None
    return tags


def name_image(address: StoreAddress, snapshot: str) -> tuple[str, str | None]:
    """Point a tag to a kept snapshot, by how its id begins or by its digest: the digest, and the one that it replaces.

    UsageError where the repository keeps no such snapshot, or several; VerificationError where layers of it are gone.
    """
    reference = writable_reference(address)
    with Connection(reference, writes=True) as connection:
        version = snapshot if re.fullmatch(r"sha256:[0-9a-f]{64}", snapshot) else _find(connection, snapshot)
        image, found = read_stored(connection, version), read_manifest(connection, version)
        if image is None or found is None:
            raise UsageError(f"{reference} has no image {snapshot}", hint=f"list them: serve snapshots {address.root}")
        digest, media_type, content = found
        if lost := find_lost_blobs(connection, image):
            raise VerificationError(
                f"{reference.at(version)} is damaged: {lost[0]}",
                hint="a registry believes that it has what it has lost: its storage needs repair",
            )
        before = read_tag(connection, reference.version)
        put_manifest(connection, Blob(content, media_type), reference.version)
        return digest, before if before != digest else None


def _find(connection: Connection, start: str) -> str:
    found = sorted(tag for tag in _list_tags(connection) if (tagged_snapshot(tag) or "").startswith(start))
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} snapshots that begin" if found else "no snapshot that begins"
    repository = f"{connection.reference.registry}/{connection.reference.repository}"
    raise UsageError(f"{repository} has {count} with {start}", hint=f"list them: serve snapshots oci://{repository}")
