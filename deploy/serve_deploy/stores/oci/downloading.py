"""Read from a registry: documents that are what their digests say, and blobs that go on where a connection broke."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from serve_deploy.errors import EndpointError
from serve_deploy.stores.oci.connection import BrokenError, Connection
from serve_deploy.stores.oci.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    damaged,
    digest_bytes,
)
from serve_deploy.stores.oci.reference import ImageReference
from serve_deploy.stores.store import OnBytes

if TYPE_CHECKING:
    from requests import Response

_PIECE = 1 << 20
_MOST_BREAKS = 4
_MOST_PAGES = 1000
# Registries take manifests of 4 MiB; a configuration lists every file.
_LARGEST_MANIFEST, _LARGEST_CONFIG = 8 << 20, 64 << 20
_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}


def read_manifest(connection: Connection, version: str) -> tuple[str, str, bytes] | None:
    """The digest, media type and bytes of what a tag or digest names, or None where the registry has no such thing.

    VerificationError where the bytes are not what the digest says.
    """
    reference = connection.reference.at(version)
    answer = connection.request(
        "GET", f"manifests/{version}", "read images", expected=(200, 404), headers=_ACCEPT, stream=True
    )
    with answer:
        if answer.status_code == 404:
            _require_registry(answer, reference)
            return None
        content = _read_bounded(answer, _LARGEST_MANIFEST, str(reference))
        promised = version if reference.is_digest else answer.headers.get("Docker-Content-Digest")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    digest = digest_bytes(content)
    if promised and promised.startswith("sha256:") and promised != digest:
        raise damaged(str(reference), "its bytes are not those of its digest")
    return digest, media_type, content


def _require_registry(answer: Response, reference: ImageReference) -> None:
    """Any web server says 404; a registry says what it does not have."""
    try:
        is_registry = bool(answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        is_registry = False
    if not is_registry:
        raise EndpointError(
            f"{reference.registry} answers, but not as a registry does",
            hint="check whether its name and port are right",
        )


def read_tag(connection: Connection, tag: str) -> str | None:
    """The digest that a tag points to, or None."""
    answer = connection.request("HEAD", f"manifests/{tag}", "read images", expected=(200, 404), headers=_ACCEPT)
    if answer.status_code == 404:
        return None
    if digest := answer.headers.get("Docker-Content-Digest"):
        return digest
    read = read_manifest(connection, tag)
    return read[0] if read else None


def list_tags(connection: Connection) -> list[str]:
    """All tags of a repository; none where there is no repository."""
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


def read_small(connection: Connection, blob: Descriptor, where: str) -> bytes:
    """A configuration or a signature; VerificationError where its bytes are not what its digest says."""
    answer = connection.request("GET", f"blobs/{blob.digest}", "read images", expected=(200, 404), stream=True)
    with answer:
        if answer.status_code == 404:
            raise damaged(where, f"the registry has no {blob.digest}")
        content = _read_bounded(answer, min(blob.size, _LARGEST_CONFIG), where)
    if len(content) != blob.size or digest_bytes(content) != blob.digest:
        raise damaged(where, f"{blob.digest} has other bytes than its digest says")
    return content


def _read_bounded(answer: Response, most: int, where: str) -> bytes:
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > most:
            raise damaged(where, f"a document is larger than {most} bytes")
    return bytes(content)


def stream_blob(connection: Connection, blob: Descriptor, where: str, on_bytes: OnBytes) -> Iterator[bytes]:
    """A blob's bytes, piece by piece; VerificationError at the end where they are not what its digest says."""
    digest = hashlib.sha256()
    received = breaks = 0
    while received < blob.size:
        before = received
        try:
            for piece in _read_from(connection, blob, received, where):
                digest.update(piece)
                received += len(piece)
                on_bytes(len(piece))
                yield piece
            if received < blob.size:
                raise BrokenError(f"layer {blob.digest} of {where} ends early")
        except BrokenError as error:
            breaks = breaks + 1 if received == before else 1
            if breaks == _MOST_BREAKS:
                raise
            connection.pause(breaks, error)
    if f"sha256:{digest.hexdigest()}" != blob.digest:
        raise damaged(where, f"layer {blob.digest} has other bytes than its digest says")


def _read_from(connection: Connection, blob: Descriptor, start: int, where: str) -> Iterator[bytes]:
    from requests import RequestException

    headers = {"Range": f"bytes={start}-"} if start else {}
    expected = (200, 206, 404, 416)
    answer = connection.request(
        "GET", f"blobs/{blob.digest}", "read layers", expected=expected, patient=False, headers=headers, stream=True
    )
    with answer:
        if answer.status_code == 404:
            raise damaged(where, f"the registry has no layer {blob.digest}")
        if answer.status_code == 416:
            raise damaged(where, f"layer {blob.digest} is shorter than its manifest says")
        # What does not know ranges sends all of it again.
        skip = start if answer.status_code == 200 else 0
        left = blob.size - start
        try:
            for piece in answer.iter_content(_PIECE):
                dropped, skip = min(skip, len(piece)), max(0, skip - len(piece))
                wanted = piece[dropped:] if dropped else piece
                if len(wanted) > left:
                    raise damaged(where, f"layer {blob.digest} is longer than its manifest says")
                left -= len(wanted)
                if wanted:
                    yield wanted
        except RequestException as error:
            raise connection.describe(error) from error
