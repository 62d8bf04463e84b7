"""Opens the hot loop's gRPC slots: calls and streams that share a few HTTP/2 connections."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator

from serve_deploy.endpoint.address import Endpoint, build_ssl_context
from serve_deploy.endpoint.connection import SERVICE, call_metadata
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients import http2_frames
from serve_deploy.loadtest.clients.exchange import Exchange, Slot
from serve_deploy.loadtest.clients.grpc_slots import CallSlot, Checker, StreamSlot
from serve_deploy.loadtest.clients.http2_connection import Http2Connection
from serve_deploy.loadtest.clients.http2_sending import Stream
from serve_deploy.loadtest.clients.http2_wires import connect

# One for each call costs Triton more than half its throughput; gRPC's own clients share theirs, too.
_USERS_A_CONNECTION = 32
OpenStream = Callable[[Exchange], StreamSlot]


class GrpcClient:
    """Opens slots to one endpoint: a connection for every 32 of them, over its addresses in turn.

    They are those of `open_stream`, or else of unary calls.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        exchange: Exchange,
        *,
        check: Checker | None = None,
        open_stream: OpenStream | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._open_stream = open_stream
        self._check = check
        self._ssl = build_ssl_context(endpoint.tls) if endpoint.is_encrypted else None
        if self._ssl:
            self._ssl.set_alpn_protocols(["h2"])
        headers = list(_headers(endpoint, "ModelStreamInfer" if open_stream else "ModelInfer"))
        literal = http2_frames.encode_literal(headers)
        if len(literal.first) > http2_frames.DEFAULT_FRAME_SIZE:
            raise UsageError(f"`headers`: more than {http2_frames.DEFAULT_FRAME_SIZE:,} bytes in all")
        self._blocks = http2_frames.encode_indexed(headers), literal
        self._connections: list[Http2Connection] = []
        self._attempts = 0
        self._lock = asyncio.Lock()

    async def open_slot(self) -> Slot:
        """A slot on a connection with room for it; OSError where there is none."""
        if self._open_stream:
            stream_slot = self._open_stream(self._exchange)
            async with self._lock:
                stream_slot.open(await self._connection_with_room())
            return stream_slot
        slot = CallSlot(self._exchange, self._find_connection, self._check)
        await slot.connect()
        return slot

    async def _find_connection(self, user: Stream) -> Http2Connection:
        async with self._lock:
            connection = await self._connection_with_room()
            connection.users.add(user)
            return connection

    async def _connection_with_room(self) -> Http2Connection:
        self._connections = [connection for connection in self._connections if connection.is_open]
        for connection in self._connections:
            if not connection.is_draining and _has_room(connection):
                return connection
        attempt, self._attempts = self._attempts, self._attempts + 1
        connection = await connect(self._endpoint, self._ssl, self._blocks, attempt)
        if not _has_room(connection):
            raise ConnectionRefusedError("the server allows no calls on a connection")
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        """Close the connections, and with them every call."""
        for connection in self._connections:
            connection.close()


def _has_room(connection: Http2Connection) -> bool:
    return len(connection.users) < min(_USERS_A_CONNECTION, connection.most_streams)


def _headers(endpoint: Endpoint, method: str) -> Iterator[tuple[str, str]]:
    yield ":method", "POST"
    yield ":scheme", "https" if endpoint.is_encrypted else "http"
    yield ":path", f"/{SERVICE}/{method}"
    yield ":authority", endpoint.authority
    yield "te", "trailers"
    yield "content-type", "application/grpc"
    if endpoint.compression:
        yield "grpc-encoding", endpoint.compression
        yield "grpc-accept-encoding", f"identity,{endpoint.compression}"
    for name, value in call_metadata(endpoint):
        yield name, base64.b64encode(value.encode()).decode().rstrip("=") if name.endswith("-bin") else value
