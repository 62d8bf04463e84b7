"""Slots over gRPC: ready bytes through grpc.aio's generic calls, the cheapest that grpcio has on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.exchange import Exchange, Request

Checker = Callable[[bytes, Any], str | None]


class GrpcSlot:
    """One call at a time on a shared channel."""

    def __init__(self, exchange: Exchange, channel: Any, invoke: Any, metadata: Any, check: Checker | None) -> None:
        import grpc

        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._channel = channel
        self._invoke = invoke
        self._metadata = metadata
        self._check = check
        self._rpc_error = grpc.aio.AioRpcError
        self._create_task = asyncio.get_running_loop().create_task
        self._task: asyncio.Task[None] | None = None

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self.intended = intended
        self.is_busy = True
        self._task = self._create_task(self._call(self.next_request()))
        self.sent = monotonic()

    async def _call(self, request: Request) -> None:
        try:
            reply = await self._invoke(request.data, metadata=self._metadata)
        except self._rpc_error as error:
            self._end_failed(error)
            return
        except asyncio.CancelledError:
            if self.is_busy:
                raise
            return
        self.is_busy = False
        wrong = self._check(reply, request.expected) if self._check and request.expected else None
        if wrong:
            self.exchange.fail(self, "wrong_output", wrong)
        else:
            self.exchange.finish(self, 0)

    def _end_failed(self, error: Any) -> None:
        self.is_busy = False
        kind, text = describe_rpc_error(error, self._channel)
        if kind == "reset":
            # The next request waits until there is a connection again, instead of failing at once.
            self.exchange.lose(self)
        self.exchange.fail(self, kind, text)

    def give_up(self) -> None:
        """Stop waiting for the reply; the call is cancelled."""
        self.is_busy = False
        if self._task:
            self._task.cancel()

    def close(self) -> None:
        """Nothing to close: the channel is shared."""


def describe_rpc_error(error: Any, channel: Any) -> tuple[str, str]:
    """Kind and text of a failed call: UNAVAILABLE without a connection is no answer, but the loss of the server."""
    import grpc

    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and channel.get_state() is not grpc.ChannelConnectivity.READY:
        return "reset", details
    return f"grpc_{code.name.lower()}", details


class StreamSlot:
    """A bidirectional stream that carries one request at a time; notes the first response and how many there were."""

    def __init__(self, exchange: Exchange, channel: Any, call: Any, check: Checker | None) -> None:
        from tritonclient.grpc import service_pb2

        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._channel = channel
        self._call = call
        self._check = check
        self._parse = service_pb2.ModelStreamInferResponse.FromString
        self._request: Request
        self._first = 0.0
        self._responses = 0
        self._wrong: str | None = None
        self._loop = asyncio.get_running_loop()
        self._writing: asyncio.Task[None] | None = None
        self._reading = self._loop.create_task(self._read())

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self._request = request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self._responses, self._wrong = 0, None
        self.sent = monotonic()
        self._writing = self._loop.create_task(self._write(request.data))

    async def _write(self, data: bytes) -> None:
        import grpc

        # Why a write fails, the reader learns.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(data)

    async def _read(self) -> None:
        import grpc

        try:
            while (data := await self._call.read()) is not grpc.aio.EOF:
                self._take(self._parse(data))
            kind, text = "reset", "the server ended the stream"
        except grpc.aio.AioRpcError as error:
            kind, text = describe_rpc_error(error, self._channel)
        self.exchange.lose(self)
        if self.is_busy:
            self.is_busy = False
            self.exchange.fail(self, kind, text)

    def _take(self, response: Any) -> None:
        if not self.is_busy:
            return
        if response.error_message:
            self.is_busy = False
            self.exchange.fail(self, "grpc_stream_error", response.error_message)
            return
        reply = response.infer_response
        if reply.outputs:
            self._responses += 1
            if self._responses == 1:
                self._first = monotonic()
            if self._check and self._request.expected:
                self._wrong = self._wrong or self._check(reply.SerializeToString(), self._request.expected)
        if reply.parameters["triton_final_response"].bool_param:
            self._end()

    def _end(self) -> None:
        self.is_busy = False
        if self._responses:
            self.exchange.recorder.record_stream(self._first - self.intended, self._responses)
        if self._wrong:
            self.exchange.fail(self, "wrong_output", self._wrong)
        else:
            self.exchange.finish(self, 0)

    def give_up(self) -> None:
        """Stop waiting: late responses must not be taken for those of another request."""
        self.is_busy = False
        self.exchange.lose(self)
        self.close()

    def close(self) -> None:
        """End the stream."""
        self._reading.cancel()
        self._call.cancel()
