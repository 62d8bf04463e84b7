"""Servers that speak enough of Triton's protocols to be load-tested, and then misbehave on purpose."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

METADATA = {
    "name": "faulty", "versions": ["1"], "platform": "fault",
    "inputs": [{"name": "IN", "datatype": "FP32", "shape": [1]}],
    "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [1]}],
}  # fmt: skip
CONFIG = {"name": "faulty", "max_batch_size": 0}
# A language model as Triton's vLLM backend declares it.
LLM_METADATA = {
    "name": "llm", "versions": ["1"], "platform": "python",
    "inputs": [
        {"name": "text_input", "datatype": "BYTES", "shape": [1]},
        {"name": "stream", "datatype": "BOOL", "shape": [1]},
        {"name": "sampling_parameters", "datatype": "BYTES", "shape": [1]},
    ],
    "outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [-1]}],
}  # fmt: skip
LLM_CONFIG = {
    "name": "llm", "max_batch_size": 0, "model_transaction_policy": {"decoupled": True},
    "input": [{"name": "stream", "optional": True}, {"name": "sampling_parameters", "optional": True}],
}  # fmt: skip
MODELS = {"faulty": (METADATA, CONFIG), "llm": (LLM_METADATA, LLM_CONFIG)}
DOCUMENTS = {"/v2": {"name": "fault", "version": "0"}, "/v1/models": {"object": "list", "data": [{"id": "llm"}]}}
for _name, (_metadata, _config) in MODELS.items():
    DOCUMENTS[f"/v2/models/{_name}"] = _metadata
    DOCUMENTS[f"/v2/models/{_name}/config"] = _config
    DOCUMENTS[f"/v2/models/{_name}/stats"] = {"model_stats": []}

# What to do with an inference request, given its number (from 0): write a reply, or not.
Behaviour = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    """A whole HTTP reply."""
    return f"HTTP/1.1 {status}\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


class FaultServer:
    """An HTTP server on a thread of its own: documents as they should be, inference as `behaviour` has it."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        self._behaviour = behaviour
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
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
        try:
            while not writer.is_closing():
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split()[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if path.endswith(("/infer", "/generate_stream", "/completions")):
            self.headers.append(headers)
            self.asked.append((path, body))
            self.requests += 1
            await self._behaviour(self.requests - 1, writer)
        else:
            known = path in DOCUMENTS
            body = json.dumps(DOCUMENTS[path] if known else {"error": "no such thing"}).encode()
            writer.write(reply(body, "200 OK" if known else "404 Not Found"))
        await writer.drain()


@contextmanager
def serve_faults(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Run a FaultServer while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FaultServer(behaviour, tls)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(300)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(300)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def serve_grpc_faults(
    infer: Callable[[Any, Any], Any], credentials: Any = None, options: tuple[tuple[str, int], ...] = ()
) -> Iterator[int]:
    """A gRPC server with Triton's control plane, and `infer(request, context)` for inference; yields its port."""
    import grpc
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ServerMetadata(self, request, context):
            return service_pb2.ServerMetadataResponse(name="fault", version="0")

        def ModelMetadata(self, request, context):
            return ParseDict(METADATA, service_pb2.ModelMetadataResponse())

        def ModelConfig(self, request, context):
            return ParseDict({"config": CONFIG}, service_pb2.ModelConfigResponse())

        def ModelStatistics(self, request, context):
            return service_pb2.ModelStatisticsResponse()

        def ModelInfer(self, request, context):
            return infer(request, context)

    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
        if credentials:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate with its key for localhost and 127.0.0.1 that it signed; for both sides."""

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, request = folder / "cert.pem", folder / "key.pem", folder / "request.pem"
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *curve, "-keyout", authority_key, "-out", authority, "-days", 2, "-subj", "/CN=test authority"
    )
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial",
            "-out", certificate, "-days", 2, "-extfile", extensions)  # fmt: skip
    return authority, certificate, key
