"""A gRPC server in raw HTTP/2 frames: Triton's control plane as it should be, inference as a test has it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hpack
from fault_servers import MODELS, reset

from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.grpc_messages import frame_message

PREFACE_BYTES = 24
HEAD = h2.encode_literal([(":status", "200"), ("content-type", "application/grpc")]).first
# What to do with the `number`-th inference request (from 0), on which connection and stream.
Behaviour = Callable[["FaultConnection", int, int], Awaitable[None]]


def headers(*fields: tuple[str, str]) -> bytes:
    """A header block that needs no table."""
    return h2.encode_literal(fields).first


def trailers(status: int = 0, message: str = "") -> bytes:
    """The block that ends a call."""
    return headers(("grpc-status", str(status)), *([("grpc-message", message)] if message else []))


def answer(stream: int, message: bytes = b"", *, padding: bytes = b"") -> bytes:
    """A whole successful reply, with padded frames if asked for."""
    flags, before = (h2.PADDED, bytes([len(padding)])) if padding else (0, b"")
    data = before + frame_message(message) + padding
    return (
        h2.frame(h2.HEADERS, h2.END_HEADERS | flags, stream, before + HEAD + padding)
        + h2.frame(h2.DATA, flags, stream, data)
        + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM | flags, stream, before + trailers() + padding)
    )


class FaultConnection:
    """One client: `write` frames to it, or `close` or `reset` its connection."""

    def __init__(self, server: Http2FaultServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._decoder = hpack.Decoder()
        self._paths: dict[int, str] = {}
        self.requests = 0
        self.frames: list[tuple[int, int, int, bytes]] = []

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        reset(self._writer)

    async def drip(self, data: bytes) -> None:
        """Write one byte at a time."""
        for byte in data:
            self._writer.write(bytes([byte]))
            await self._writer.drain()
            await asyncio.sleep(0)

    async def serve(self) -> None:
        preface = await self._reader.readexactly(PREFACE_BYTES)
        assert preface.startswith(b"PRI * HTTP/2.0")
        pairs = b"".join(h2.SETTING.pack(*setting) for setting in self._server.settings)
        self.write(h2.frame(h2.SETTINGS, 0, 0, pairs))
        while not self._writer.is_closing():
            await self._take(*await self._read_frame())

    async def _read_frame(self) -> tuple[int, int, int, bytes]:
        high, low, kind, flags, stream = h2.FRAME_HEAD.unpack(await self._reader.readexactly(9))
        return kind, flags, stream, await self._reader.readexactly(high << 8 | low)

    async def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.frames.append((kind, flags, stream, payload))
        if kind == h2.SETTINGS and not flags & h2.ACK:
            self.write(h2.frame(h2.SETTINGS, h2.ACK, 0))
        elif kind == h2.PING and not flags & h2.ACK:
            self.write(h2.frame(h2.PING, h2.ACK, 0, payload))
        elif kind == h2.HEADERS:
            content = bytes(h2.strip_padding(memoryview(payload), flags))
            fields = dict(self._decoder.decode(content))
            self._paths[stream] = fields[":path"]
            if fields[":path"].endswith("ModelInfer"):
                self._server.calls.append(fields)
        if kind in (h2.HEADERS, h2.DATA) and flags & h2.END_STREAM:
            await self._answer(stream, self._paths.pop(stream))
        elif kind == h2.DATA and self._paths[stream].endswith("ModelStreamInfer"):
            await self._answer(stream, self._paths[stream])

    async def _answer(self, stream: int, path: str) -> None:
        method = path.rpartition("/")[2]
        if method in ("ModelInfer", "ModelStreamInfer"):
            number, self._server.requests = self._server.requests, self._server.requests + 1
            self.requests += 1
            await self._server.behaviour(self, stream, number)
        else:
            self.write(answer(stream, _control_plane(method, self._server.model)))


def _control_plane(method: str, model: str) -> bytes:
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc import service_pb2

    metadata, config = MODELS[model]
    documents: dict[str, Any] = {
        "ServerMetadata": (service_pb2.ServerMetadataResponse(), {"name": "fault", "version": "0"}),
        "ModelMetadata": (service_pb2.ModelMetadataResponse(), metadata),
        "ModelConfig": (service_pb2.ModelConfigResponse(), {"config": config}),
        "ModelStatistics": (service_pb2.ModelStatisticsResponse(), {}),
    }
    message, document = documents[method]
    return ParseDict(document, message).SerializeToString()


class Http2FaultServer:
    """Serves on a thread of its own; keeps what it received: inference calls by their headers."""

    def __init__(self, behaviour: Behaviour, settings: tuple[tuple[int, int], ...], model: str) -> None:
        self.behaviour = behaviour
        self.settings = settings
        self.model = model
        self.requests = 0
        self.calls: list[dict[str, str]] = []
        self.connections: list[FaultConnection] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """What all clients sent: type, flags, stream, content."""
        return [frame for connection in self.connections for frame in connection.frames]

    @property
    def busy_connections(self) -> list[FaultConnection]:
        """Those that carried inference requests."""
        return [connection for connection in self.connections if connection.requests]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        connection = FaultConnection(self, reader, writer)
        self.connections.append(connection)
        try:
            await connection.serve()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


@contextmanager
def serve_http2_faults(
    behaviour: Behaviour, *settings: tuple[int, int], model: str = "faulty"
) -> Iterator[Http2FaultServer]:
    """Run a server of this model with these HTTP/2 settings while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Http2FaultServer(behaviour, settings, model)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(300)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(300)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
