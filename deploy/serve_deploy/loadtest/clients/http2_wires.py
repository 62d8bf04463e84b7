"""How the bytes of an HTTP/2 connection travel: over a socket of ours, or over a transport, which TLS needs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import cast

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.loadtest.clients import http2_frames
from serve_deploy.loadtest.clients.http2_connection import Http2Connection
from serve_deploy.loadtest.clients.http2_frames import RequestBlocks
from serve_deploy.loadtest.clients.http2_sending import Buffer
from serve_deploy.loadtest.clients.sockets import connect_socket

_RECEIVED = bytearray(1 << 18)
_VIEW = memoryview(_RECEIVED)
# Below the 1024 that Linux takes in one call.
_MOST_PARTS = 512


async def connect(
    endpoint: Endpoint,
    context: ssl.SSLContext | None,
    blocks: tuple[RequestBlocks | None, RequestBlocks],
    attempt: int,
) -> Http2Connection:
    """A connection whose peer has said its settings; OSError where there is none."""
    loop = asyncio.get_running_loop()
    plain = await connect_socket(endpoint, attempt)
    connection: SocketWire | TransportWire
    try:
        if context is None:
            connection = SocketWire(blocks, plain)
        else:
            _, connection = await loop.create_connection(
                lambda: TransportWire(blocks), sock=plain, ssl=context, server_hostname=endpoint.host
            )
    except BaseException:
        plain.close()
        raise
    try:
        await connection.ready
    except BaseException:
        connection.lose("reset", "")
        raise
    return connection


class _Wire(Http2Connection):
    """What both have in common: they open with the preface, and are ready when the peer has answered it."""

    def __init__(self, blocks: tuple[RequestBlocks | None, RequestBlocks]) -> None:
        super().__init__(*blocks)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _become_ready(self) -> None:
        super()._become_ready()
        if not self.ready.done():
            self.ready.set_result(None)

    def lose(self, kind: str, text: str) -> None:
        """The connection is gone."""
        super().lose(kind, text)
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(text or "the server closed the connection at once"))


class SocketWire(_Wire):
    """Over a plain socket, which it owns: half the CPU of a transport."""

    def __init__(self, blocks: tuple[RequestBlocks | None, RequestBlocks], plain: socket.socket) -> None:
        super().__init__(blocks)
        self._socket = plain
        self._send_now, self._receive_into = plain.send, plain.recv_into
        self._backlog: deque[Buffer] = deque()
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(plain.fileno(), self._read)
        self._emit(http2_frames.opening())

    def _emit(self, data: bytes) -> None:
        if self._backlog:
            self._backlog.append(data)
            return
        try:
            written = self._send_now(data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            # Not from within a call: its caller is not ready to hear of the end yet.
            self._loop.call_soon(self.lose, "reset", str(error))
            return
        if written != len(data):
            self._keep([memoryview(data)[written:]])

    def _emit_parts(self, parts: Sequence[Buffer]) -> None:
        if self._backlog:
            self._backlog.extend(parts)
        else:
            self._keep(parts)
            self._write()

    def _keep(self, parts: Sequence[Buffer]) -> None:
        self._backlog.extend(parts)
        self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        backlog = self._backlog
        try:
            while backlog:
                written = self._socket.sendmsg(islice(backlog, _MOST_PARTS))
                while backlog and written >= len(backlog[0]):
                    written -= len(backlog.popleft())
                if written:
                    backlog[0] = memoryview(backlog[0])[written:]
        except BlockingIOError:
            return
        except OSError as error:
            backlog.clear()
            self._loop.call_soon(self.lose, "reset", str(error))
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        # libuv tells only once of a connection that was reset: where it is still waited for, read up to that.
        while self._read_once() and self.is_waiting and self.is_open:
            pass

    def _read_once(self) -> bool:
        start = len(self._rest)
        if start:
            _RECEIVED[:start] = self._rest
        try:
            count = self._receive_into(_VIEW[start:] if start else _RECEIVED)
        except BlockingIOError:
            return False
        except OSError as error:
            self.lose("reset", str(error))
            return False
        if not count:
            self.lose("reset", "")
            return False
        end = start + count
        used = self.take(_VIEW[:end])
        self._rest = b"" if used == end else bytes(_VIEW[used:end])
        return True

    def _drop(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()


class TransportWire(_Wire, asyncio.Protocol):
    """Over a transport."""

    def __init__(self, blocks: tuple[RequestBlocks | None, RequestBlocks]) -> None:
        super().__init__(blocks)
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        # Write at once, not at the end of the loop's turn: the send is when we say that it is.
        self._transport.set_write_buffer_limits(high=0)
        self._emit(http2_frames.opening())

    def _emit(self, data: bytes) -> None:
        self._transport.write(data)

    def _emit_parts(self, parts: Sequence[Buffer]) -> None:
        self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        data = self._rest + data
        used = self.take(memoryview(data))
        self._rest = data[used:]

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self.lose("reset", str(error) if error else "")

    def _drop(self) -> None:
        self._transport.abort()
