"""HTTP/2 frames and header blocks, as much of them as a gRPC client needs (RFC 9113, RFC 7541). Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 7, 8
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 3, 4, 5
DEFAULT_TABLE_SIZE, DEFAULT_WINDOW, DEFAULT_FRAME_SIZE, LARGEST = 4096, 65_535, 16_384, (1 << 31) - 1
# Length (its high 16 and low 8 bits), type, flags, stream.
FRAME_HEAD = struct.Struct(">HBBBL")
SETTING = struct.Struct(">HL")
_NO_PUSH = 2
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_UNKNOWN = 2
STATUS_NAMES = (
    "ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
    "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
    "internal", "unavailable", "data_loss", "unauthenticated",
)  # fmt: skip


class Http2Error(Exception):
    """The peer broke the protocol: nothing that it says on this connection can be understood any more."""


class ReplyHead(NamedTuple):
    """What a block of headers or trailers says of a call; -1 where it does not say it."""

    http_status: int = -1
    grpc_status: int = -1
    message: str = ""


class RequestBlocks(NamedTuple):
    """The header block of the first request on a connection, and that of each further one."""

    first: bytes
    further: bytes


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    """A whole frame of stream `number`."""
    return FRAME_HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, number) + payload


def window_update(number: int, increment: int) -> bytes:
    """Let the peer send `increment` bytes more, on a stream or (0) on the connection."""
    return frame(WINDOW_UPDATE, 0, number, increment.to_bytes(4, "big"))


def opening() -> bytes:
    """What a client says first: windows that never hold a reply up, and no header table, so blocks are stateless."""
    settings = ((HEADER_TABLE_SIZE, 0), (_NO_PUSH, 0), (INITIAL_WINDOW_SIZE, LARGEST))
    content = b"".join(SETTING.pack(*setting) for setting in settings)
    return _PREFACE + frame(SETTINGS, 0, 0, content) + window_update(0, LARGEST - DEFAULT_WINDOW)


def encode_indexed(headers: Sequence[tuple[str, str]]) -> RequestBlocks | None:
    """Blocks that leave the headers in the peer's table, so that further requests only point there, as gRPC does.

    None where they do not fit into the table: each block would change it.
    """
    encoder = hpack.Encoder()
    first, further = encoder.encode(headers), encoder.encode(headers)
    # An indexed field is one byte here: a high bit and the index.
    return RequestBlocks(first, further) if len(further) == len(headers) and min(further) >= 0x80 else None


def encode_literal(headers: Sequence[tuple[str, str]]) -> RequestBlocks:
    """A block that needs no table."""
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*header) for header in headers])
    return RequestBlocks(block, block)


@lru_cache(maxsize=512)
def decode_head(block: bytes) -> ReplyHead:
    """Read a block of a peer that knows that there is no header table; Http2Error where it used one, or is broken."""
    decoder = hpack.Decoder()
    decoder.header_table_size = 0
    try:
        fields = dict(decoder.decode(block, raw=True))
    except hpack.HPACKError as error:
        raise Http2Error(f"its headers cannot be read: {error}") from error
    message = unquote_to_bytes(fields.get(b"grpc-message", b"")).decode(errors="replace")
    return ReplyHead(_number(fields.get(b":status")), _number(fields.get(b"grpc-status")), message)


def _number(text: bytes | None) -> int:
    if text is None:
        return -1
    return int(text) if text.isdigit() and len(text) < 4 else _UNKNOWN


def strip_padding(payload: memoryview, flags: int) -> memoryview:
    """The content of a DATA or HEADERS frame, without its padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not end or payload[0] >= end:
            raise Http2Error("a frame is all padding")
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    if start > end:
        raise Http2Error("a frame is too short for its flags")
    return payload[start:end]
