"""What gRPC puts into HTTP/2: messages with their length before them, and how a call ended. Pure."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from serve_deploy.loadtest.clients.http2_frames import STATUS_NAMES, ReplyHead

PREFIX_BYTES = 5
# zlib's code for either of the two formats.
_GZIP_OR_ZLIB = 47
_STATUS_OF_HTTP = {
    400: "internal", 401: "unauthenticated", 403: "permission_denied", 404: "unimplemented", 429: "unavailable",
    502: "unavailable", 503: "unavailable", 504: "unavailable",
}  # fmt: skip
_STATUS_OF_RESET = {7: "unavailable", 8: "cancelled", 11: "resource_exhausted", 12: "permission_denied"}
# A kind of failure, and its text.
Failure = tuple[str, str]


def frame_message(content: bytes, compression: str | None = None) -> bytes:
    """A message as it travels: whether it is compressed, its length, itself."""
    if compression:
        content = gzip.compress(content) if compression == "gzip" else zlib.compress(content)
    return bytes([compression is not None]) + len(content).to_bytes(4, "big") + content


def read_message(framed: Any) -> bytes:
    """The content of one message as it travelled; zlib.error where it is compressed and broken."""
    content = bytes(framed[PREFIX_BYTES:])
    return zlib.decompress(content, _GZIP_OR_ZLIB) if framed[0] else content


def framed_size(prefix: bytes | bytearray | memoryview) -> int:
    """How long a message is with its prefix."""
    return PREFIX_BYTES + int.from_bytes(prefix[1:PREFIX_BYTES], "big")


class MessageReader:
    """Puts the messages of a stream together, however they were cut into frames."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterable[bytes]:
        """The messages that are whole now."""
        if not self._kept and len(data) > PREFIX_BYTES and not data[0] and len(data) == framed_size(data):
            # A token's response comes alone, in a frame of its own.
            return (bytes(data[PREFIX_BYTES:]),)
        return self._put_together(data)

    def _put_together(self, data: bytes | memoryview) -> Iterator[bytes]:
        self._kept += data
        while len(self._kept) >= PREFIX_BYTES and len(self._kept) >= (size := framed_size(self._kept)):
            yield read_message(self._kept[:size])
            del self._kept[:size]


def failure_of(http_status: int, last: ReplyHead | None) -> Failure | None:
    """Why a call failed, by the status of its headers and by its trailers; None where it succeeded."""
    status = last.grpc_status if last else -1
    if status == 0:
        return None
    if last and status > 0:
        return f"grpc_{STATUS_NAMES[status] if status < len(STATUS_NAMES) else 'unknown'}", last.message
    if http_status not in (-1, 200):
        return f"grpc_{_STATUS_OF_HTTP.get(http_status, 'unknown')}", f"the server answered with HTTP {http_status}"
    return "grpc_unknown", "the server ended the call without a status"


def failure_of_reset(code: int) -> Failure:
    """Why a call failed that the server reset, as gRPC translates it."""
    return f"grpc_{_STATUS_OF_RESET.get(code, 'internal')}", f"the server reset the call (HTTP/2 error {code})"
