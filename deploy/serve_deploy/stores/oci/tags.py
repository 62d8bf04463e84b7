"""Tags of a repository: list its snapshots, point a tag to another, and let go of old ones."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_deploy.errors import DestinationError, UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import INDEX_TYPES, Blob, parse_index
from serve_deploy.stores.oci.downloading import read_manifest, read_tag
from serve_deploy.stores.oci.pushing import put_manifest
from serve_deploy.stores.oci.reading import read_stored
from serve_deploy.stores.oci.reference import read_reference, snapshot_tag, tagged_snapshot, writable_reference
from serve_deploy.stores.snapshot import Snapshot

if TYPE_CHECKING:
    from requests import Response

_CONCURRENCY = 8
_MOST_PAGES = 1000


@dataclass(frozen=True)
class ListedImage:
    """A snapshot that a repository keeps, the digest of its image, and the other tags that name it."""

    id: str
    digest: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class DescribedImage:
    """A kept snapshot, or what is wrong with it."""

    id: str
    snapshot: Snapshot | None
    problem: str = ""


def describe_images(address: StoreAddress) -> tuple[DescribedImage, ...]:
    """What the snapshots hold that serve pushed to a repository, by id."""
    listed = list_images(address)
    with Connection(read_reference(address)) as connection, ThreadPoolExecutor(_CONCURRENCY) as pool:
        return tuple(pool.map(lambda each: _describe(connection, each), listed))


def _describe(connection: Connection, listed: ListedImage) -> DescribedImage:
    try:
        image = read_stored(connection, listed.digest)
    except VerificationError as error:
        return DescribedImage(listed.id, None, error.message)
    if image is None:
        return DescribedImage(listed.id, None, "it was removed meanwhile")
    return DescribedImage(listed.id, image.snapshot)


def list_images(address: StoreAddress) -> tuple[ListedImage, ...]:
    """The snapshots that serve pushed to a repository, by id; empty where there is none, or no repository."""
    with Connection(read_reference(address)) as connection:
        tags = _list_tags(connection)
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            named = dict(zip(tags, pool.map(lambda tag: read_tag(connection, tag), tags), strict=True))
    kept = {identity: digest for tag, digest in named.items() if (identity := tagged_snapshot(tag)) and digest}
    return tuple(
        ListedImage(identity, digest, tuple(tag for tag in _own_tags(named) if named[tag] == digest))
        for identity, digest in sorted(kept.items())
    )


def _own_tags(named: dict[str, str | None]) -> list[str]:
    return sorted(tag for tag in named if not tagged_snapshot(tag))


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

    UsageError where the repository keeps no such snapshot, or several.
    """
    reference = writable_reference(address)
    with Connection(reference, writes=True) as connection:
        version = snapshot if re.fullmatch(r"sha256:[0-9a-f]{64}", snapshot) else _find(connection, snapshot)
        image, found = read_stored(connection, version), read_manifest(connection, version)
        if image is None or found is None:
            raise UsageError(f"{reference} has no image {snapshot}", hint=f"list them: serve snapshots {address.root}")
        digest, media_type, content = found
        before = read_tag(connection, reference.version)
        put_manifest(connection, Blob(content, media_type), reference.version)
        return digest, before if before != digest else None


def remove_image(address: StoreAddress, identity: str) -> bool:
    """Let go of a snapshot: without a tag, the registry's own clean-up removes what no other image has.

    Whether it was there. EndpointError where the registry does not let tags be removed.
    """
    with Connection(read_reference(address), writes=True) as connection:
        tag = snapshot_tag(identity)
        digest = read_tag(connection, tag)
        if digest is None:
            return False
        answer = _delete(connection, tag)
        if answer.status_code != 202:
            _remove_content(connection, digest)
        return True


def _delete(connection: Connection, version: str) -> Response:
    return connection.request("DELETE", f"manifests/{version}", "remove images", expected=(202, 400, 404, 405))


def _remove_content(connection: Connection, digest: str) -> None:
    """For registries that remove by digest only, which takes every tag away."""
    named = {tag: read_tag(connection, tag) for tag in _list_tags(connection)}
    others = [tag for tag in _own_tags(named) if named[tag] == digest]
    if others:
        raise DestinationError(
            f"{connection.reference.at(others[0])} names that snapshot, and the registry cannot remove one tag alone",
            hint="point that tag to another snapshot first",
        )
    found = read_manifest(connection, digest)
    inner = parse_index(found[2], str(connection.reference)).manifests if found and found[1] in INDEX_TYPES else ()
    for version in (digest, *(each.digest for each in inner)):
        if _delete(connection, version).status_code not in (202, 404):
            raise DestinationError(
                f"{connection.reference.registry} does not let images be removed",
                hint="see its documentation on deletion; docker's registry wants storage.delete.enabled",
            )


def _find(connection: Connection, start: str) -> str:
    found = sorted(tag for tag in _list_tags(connection) if (tagged_snapshot(tag) or "").startswith(start))
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} snapshots that begin" if found else "no snapshot that begins"
    repository = f"{connection.reference.registry}/{connection.reference.repository}"
    raise UsageError(f"{repository} has {count} with {start}", hint=f"list them: serve snapshots oci://{repository}")
