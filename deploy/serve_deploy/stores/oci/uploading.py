"""Send blobs to a registry: what it has is not sent, and a broken upload goes on where the registry says it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from serve_deploy.errors import EndpointError, ServeError
from serve_deploy.stores.oci.connection import BrokenError, Connection
from serve_deploy.stores.oci.documents import Blob
from serve_deploy.stores.oci.downloading import read_tag
from serve_deploy.stores.oci.failures import describe_refusal
from serve_deploy.stores.oci.layers import LayerSource
from serve_deploy.stores.store import OnBytes

if TYPE_CHECKING:
    from requests import Response

_UPLOADS = "blobs/uploads/"
_TYPE = {"Content-Type": "application/octet-stream"}
# Where a whole layer is more than the registry, or the proxy before it, takes at once.
_CHUNK_BYTES = (64 << 20, 4 << 20)
# It has forgotten the upload or counts it otherwise, or the body is too large.
_TOO_LARGE = (413, 416)
_STARTS_AGAIN = (404, *_TOO_LARGE)
_MOST_BREAKS, _BREAKS_OF_ONE_SIZE = 5, 3


def has_blob(connection: Connection, digest: str) -> int | None:
    """The size of a blob that the registry has, or None."""
    answer = connection.request("HEAD", f"blobs/{digest}", "read layers", expected=(200, 404), allow_redirects=True)
    if answer.status_code == 404:
        return None
    return int(answer.headers.get("Content-Length", -1))


def send_small(connection: Connection, blob: Blob) -> None:
    """Send a configuration, unless the registry has it."""
    if has_blob(connection, blob.digest) is None:
        location, _least = _begin(connection)
        _finish(connection, location, blob.digest, blob.content, patient=True)


def put_manifest(connection: Connection, manifest: Blob, version: str) -> None:
    """Store a manifest by its digest, or point a tag to it, unless it does already."""
    if read_tag(connection, version) != manifest.digest:
        connection.request(
            "PUT", f"manifests/{version}", f"store {connection.reference.at(version)}", expected=(201, 202),
            headers={"Content-Type": manifest.media_type}, data=manifest.content,
        )  # fmt: skip


def send_layer(connection: Connection, source: LayerSource, digest: str, on_bytes: OnBytes) -> None:
    """Send a layer piece by piece; the registry compares it with the digest."""
    _Upload(connection, source, digest, on_bytes).run()


class _Upload:
    """One layer's way into a registry, through breaks and limits."""

    def __init__(self, connection: Connection, source: LayerSource, digest: str, on_bytes: OnBytes) -> None:
        self._connection = connection
        self._source = source
        self._digest = digest
        self._on_bytes = on_bytes
        self._location: str | None = None
        self._sent = self._told = 0
        # One request for all of it, as docker does, until that turns out to be too much.
        self._chunks = [source.size_bytes, *(size for size in _CHUNK_BYTES if size < source.size_bytes)]

    def run(self) -> None:
        breaks = 0
        while True:
            before = self._sent
            try:
                return self._go_on()
            except BrokenError as error:
                breaks = breaks + 1 if self._sent <= before else 1
                if breaks == _MOST_BREAKS:
                    raise
                if breaks == _BREAKS_OF_ONE_SIZE and len(self._chunks) > 1:
                    # What refuses a large body may hang up before it says so.
                    self._chunks.pop(0)
                self._connection.pause(breaks, error)
                self._ask_what_arrived()
                if self._location is None and has_blob(self._connection, self._digest) is not None:
                    return None

    def _go_on(self) -> None:
        if self._location is None:
            self._sent = 0
            self._location, least = _begin(self._connection)
            self._chunks = [max(size, least) for size in self._chunks]
        while self._sent < self._source.size_bytes:
            self._send_chunk()
        _finish(self._connection, self._location, self._digest, b"", patient=False)

    def _send_chunk(self) -> None:
        start, end = self._sent, min(self._source.size_bytes, self._sent + self._chunks[0])
        headers = dict(_TYPE)
        if (start, end) != (0, self._source.size_bytes):
            headers["Content-Range"] = f"{start}-{end - 1}"
        doing = f"store layer {self._source.files.title}"
        answer = self._connection.request(
            "PATCH", self._location or "", doing, expected=(201, 202, 204, *_STARTS_AGAIN), patient=False,
            headers=headers, data=lambda: _Body(self._source, start, end, self._note),
        )  # fmt: skip
        if answer.status_code in _STARTS_AGAIN:
            self._location = None
            if answer.status_code in _TOO_LARGE and start == 0:
                if len(self._chunks) == 1:
                    raise describe_refusal(answer, self._connection.reference, doing)
                self._chunks.pop(0)
            raise BrokenError(describe_refusal(answer, self._connection.reference, doing).message)
        self._sent = _arrived(answer, end)
        self._location = self._connection.resolve(answer.headers.get("Location") or self._location or "")

    def _ask_what_arrived(self) -> None:
        if self._location is None:
            return
        try:
            answer = self._connection.request("GET", self._location, "go on with an upload", expected=(200, 204))
        except ServeError:
            # The registry has forgotten the upload, or never tells: it starts again.
            self._location = None
            return
        arrived = _arrived(answer, 0)
        if arrived > self._source.size_bytes:
            self._location = None
            return
        self._sent = arrived
        self._location = self._connection.resolve(answer.headers.get("Location") or self._location)

    def _note(self, position: int) -> None:
        """What is sent twice is told once."""
        if position > self._told:
            self._on_bytes(position - self._told)
            self._told = position


def _begin(connection: Connection) -> tuple[str, int]:
    answer = connection.request("POST", _UPLOADS, "push", expected=(202,), headers={"Content-Length": "0"})
    if "Location" not in answer.headers:
        raise EndpointError(
            f"{connection.reference.registry} does not say where to upload", hint="check whether it is a registry"
        )
    return connection.resolve(answer.headers["Location"]), int(answer.headers.get("OCI-Chunk-Min-Length", 0))


def _finish(connection: Connection, location: str, digest: str, content: bytes, *, patient: bool) -> None:
    parts = urlsplit(location)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)])
    connection.request(
        "PUT", parts._replace(query=query).geturl(), "store what was sent", expected=(201, 204), patient=patient,
        headers=_TYPE, data=content,
    )  # fmt: skip


def _arrived(answer: Response, otherwise: int) -> int:
    """How many bytes the registry has, by its Range: the last byte's number."""
    found = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    if not found:
        return otherwise
    # An upload without a byte is 0-0, as one with a single byte is.
    return int(found[1]) + 1 if found[1] != "0" else 0


class _Body:
    """Part of a layer, as requests wants what it sends: with a length, and read in blocks."""

    def __init__(self, source: LayerSource, start: int, end: int, note: Callable[[int], None]) -> None:
        self._pieces = source.read_from(start)
        self._position, self._end = start, end
        self._note = note
        self._rest = b""
        self._length = end - start

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 20):
            yield piece

    def read(self, size: int = -1) -> Any:
        """Headers are short: they travel together with what follows."""
        wanted = min(size if size >= 0 else self._end, self._end - self._position)
        parts = [self._rest]
        have = len(self._rest)
        while have < wanted and (piece := next(self._pieces, b"")):
            parts.append(piece)
            have += len(piece)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        self._rest, block = joined[wanted:], joined[:wanted]
        self._position += len(block)
        self._note(self._position)
        return block
