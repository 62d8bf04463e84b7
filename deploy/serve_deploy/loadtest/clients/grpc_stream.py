"""Streaming over gRPC: one stream a slot; a request ends with its final response, of which there may be many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.exchange import Exchange, Request
from serve_deploy.loadtest.clients.grpc_client import Checker, describe_rpc_error


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
