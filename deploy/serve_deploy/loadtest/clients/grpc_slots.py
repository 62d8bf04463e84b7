"""The slots of the hot loop over gRPC: unary calls, and streams that carry one request at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.exchange import Exchange, Request
from serve_deploy.loadtest.clients.grpc_messages import (
    PREFIX_BYTES,
    Failure,
    failure_of,
    failure_of_reset,
    framed_size,
    read_message,
)  # fmt: skip
from serve_deploy.loadtest.clients.grpc_stream import MessageStream
from serve_deploy.loadtest.clients.http2_connection import Http2Connection
from serve_deploy.loadtest.clients.http2_frames import ReplyHead
from serve_deploy.loadtest.clients.http2_sending import Stream

Checker = Callable[[bytes, Any], str | None]
FindConnection = Callable[[Stream], Awaitable[Http2Connection]]


class CallSlot(Stream):
    """One unary call for each request."""

    def __init__(self, exchange: Exchange, find_connection: FindConnection, check: Checker | None) -> None:
        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._find_connection = find_connection
        self._check = check
        self._repetition: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Take a place on a connection; OSError where there is none."""
        self._connection = await self._find_connection(self)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self.request = request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self._repetition = None
        self.sent = monotonic()
        self._start(request)

    def _start(self, request: Request) -> None:
        self._http_status, self._prefix, self._length = -1, b"", 0
        self._parts: list[bytes] | None = [] if self._check and request.expected else None
        self._connection.call(self, request.data)

    def on_head(self, head: ReplyHead, is_last: bool) -> None:
        """Called by the connection."""
        if head.http_status != -1:
            self._http_status = head.http_status
        if is_last:
            self._end(failure_of(self._http_status, head) or self._find_fault())

    def on_data(self, data: memoryview, is_last: bool) -> None:
        """Called by the connection."""
        self._length += len(data)
        if len(self._prefix) < PREFIX_BYTES:
            self._prefix += data[: PREFIX_BYTES - len(self._prefix)]
        if self._parts is not None:
            self._parts.append(bytes(data))
        if is_last:
            self._end(failure_of(self._http_status, None))

    def on_reset(self, code: int) -> None:
        """Called by the connection."""
        self._end(failure_of_reset(code))

    def _find_fault(self) -> Failure | None:
        size = framed_size(self._prefix)
        if self._length != size:
            return "protocol", f"the reply has {self._length:,} bytes and says {size:,}"
        if self._parts is None or self._check is None:
            return None
        try:
            wrong = self._check(read_message(b"".join(self._parts)), self.request.expected)
        except zlib.error as error:
            return "protocol", f"the reply cannot be decompressed: {error}"
        return ("wrong_output", wrong) if wrong else None

    def _end(self, failure: Failure | None) -> None:
        self.is_busy = False
        if self._connection.is_draining:
            self._leave()
        if failure:
            self.exchange.fail(self, *failure)
        else:
            self.exchange.finish(self, 0)

    def _leave(self) -> None:
        self._connection.users.discard(self)
        self.exchange.lose(self)

    def on_draining(self) -> None:
        """Called by the connection."""
        if not self.is_busy:
            self._leave()

    def on_lost(self, kind: str, text: str) -> None:
        """Called by the connection."""
        self._leave()
        if self.is_busy:
            self.is_busy = False
            when = "before it replied" if self._http_status == -1 else "in the middle of its reply"
            self.exchange.fail(self, kind, text or f"the server closed the connection {when}")

    def on_unprocessed(self) -> None:
        """Called by the connection: the request is sent once more, as gRPC does, and its clock goes on."""
        if self._repetition:
            self.on_lost("reset", "the server went away twice before it took the request")
            return
        self._connection.users.discard(self)
        self._repetition = asyncio.get_running_loop().create_task(self._repeat())

    async def _repeat(self) -> None:
        try:
            await self.connect()
        except OSError as error:
            self.on_lost("reset", str(error))
        else:
            self._start(self.request)

    def give_up(self) -> None:
        """Stop waiting for the reply; the call is cancelled."""
        self.is_busy = False
        if self._repetition and not self._repetition.done():
            self._repetition.cancel()
            self._leave()
        else:
            self._connection.cancel(self)

    def close(self) -> None:
        """Nothing to close: the connection is shared."""


class StreamSlot:
    """A bidirectional stream that carries one request at a time; notes the first response and how many there were."""

    def __init__(self, exchange: Exchange, check: Checker | None) -> None:
        from tritonclient.grpc import service_pb2

        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._check = check
        self._parse = service_pb2.ModelStreamInferResponse.FromString
        self._first = 0.0
        self._responses = 0
        self._wrong: str | None = None

    def open(self, connection: Http2Connection) -> None:
        """Open the stream."""
        self._stream = MessageStream(connection, self)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self.request = request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self._responses, self._wrong = 0, None
        self.sent = monotonic()
        self._stream.send(request.data)

    def on_message(self, message: bytes, received_at: float) -> None:
        """Called by the stream."""
        if not self.is_busy:
            return
        response = self._parse(message)
        if response.error_message:
            self._finish(("grpc_stream_error", response.error_message))
            return
        reply = response.infer_response
        if reply.outputs:
            self._responses += 1
            if self._responses == 1:
                self._first = received_at
            if self._check and self.request.expected:
                self._wrong = self._wrong or self._check(reply.SerializeToString(), self.request.expected)
        if reply.parameters["triton_final_response"].bool_param:
            if self._responses:
                self.exchange.recorder.record_stream(self._first - self.intended, self._responses)
            self._finish(("wrong_output", self._wrong) if self._wrong else None)

    def _finish(self, failure: Failure | None) -> None:
        self.is_busy = False
        if self._stream.connection.is_draining:
            self._leave()
        if failure:
            self.exchange.fail(self, *failure)
        else:
            self.exchange.finish(self, 0)

    def _leave(self) -> None:
        self.exchange.lose(self)
        self._stream.cancel()

    def on_draining(self) -> None:
        """Called by the stream."""
        if not self.is_busy:
            self._leave()

    def on_end(self, failure: Failure | None) -> None:
        """Called by the stream."""
        self.exchange.lose(self)
        if self.is_busy:
            self.is_busy = False
            self.exchange.fail(self, *(failure or ("reset", "the server ended the stream")))

    def give_up(self) -> None:
        """Stop waiting: late responses must not be taken for those of another request."""
        self.is_busy = False
        self._leave()

    def close(self) -> None:
        """End the stream."""
        self._stream.cancel()
