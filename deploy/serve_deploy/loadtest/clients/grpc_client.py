"""The hot loop over gRPC: ready bytes through grpc.aio's generic calls, the cheapest that grpcio has on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import SERVICE, call_metadata, open_channel
from serve_deploy.loadtest.clients.exchange import Exchange, Request, Slot

Checker = Callable[[bytes, Any], str | None]
_SLOTS_A_CHANNEL = 32


class GrpcClient:
    """Opens slots over a few channels: a connection for every 32 of them."""

    def __init__(self, endpoint: Endpoint, exchange: Exchange, *, streaming: bool, check: Checker | None) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._streaming = streaming
        self._check = check
        self._metadata = call_metadata(endpoint)
        self._channels: list[Any] = []
        self._opened = 0

    async def open_slot(self) -> Slot:
        """A slot on a channel that is connected; OSError where it cannot connect."""
        index = self._opened // _SLOTS_A_CHANNEL % 16
        self._opened += 1
        if index == len(self._channels):
            self._channels.append(open_channel(self._endpoint, asynchronous=True))
        channel = self._channels[index]
        await _connect(channel)
        if self._streaming:
            call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(metadata=self._metadata)
            return StreamSlot(self._exchange, channel, self._check, call)
        invoke = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return CallSlot(self._exchange, channel, self._check, invoke, self._metadata)

    async def close(self) -> None:
        """Close the channels, and with them every call."""
        for channel in self._channels:
            await channel.close(None)


async def _connect(channel: Any) -> None:
    import grpc

    while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise ConnectionRefusedError("the gRPC channel cannot connect")
        await channel.wait_for_state_change(state)


class _GrpcSlot:
    """What a call and a stream have in common: one request at a time on a shared channel."""

    def __init__(self, exchange: Exchange, channel: Any, check: Checker | None) -> None:
        import grpc

        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._channel = channel
        self._check = check
        self._rpc_error = grpc.aio.AioRpcError
        self._create_task = asyncio.get_running_loop().create_task
        self._task: asyncio.Task[None] | None = None

    def _describe(self, error: Any) -> tuple[str, str]:
        """Kind and text of a failed call: UNAVAILABLE without a connection is the loss of the server, not an answer."""
        import grpc

        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and self._channel.get_state() is not grpc.ChannelConnectivity.READY:
            return "reset", details
        return f"grpc_{code.name.lower()}", details

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Stop waiting for the reply."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close: the channel is shared."""


class CallSlot(_GrpcSlot):
    """One unary call for each request."""

    def __init__(self, exchange: Exchange, channel: Any, check: Checker | None, invoke: Any, metadata: Any) -> None:
        super().__init__(exchange, channel, check)
        self._invoke = invoke
        self._metadata = metadata

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
        kind, text = self._describe(error)
        if kind == "reset":
            # The next request waits until there is a connection again, instead of failing at once.
            self.exchange.lose(self)
        self.exchange.fail(self, kind, text)

    def give_up(self) -> None:
        """Stop waiting for the reply; the call is cancelled."""
        self.is_busy = False
        if self._task:
            self._task.cancel()


class StreamSlot(_GrpcSlot):
    """A bidirectional stream that carries one request at a time; notes the first response and how many there were."""

    def __init__(self, exchange: Exchange, channel: Any, check: Checker | None, call: Any) -> None:
        from tritonclient.grpc import service_pb2

        super().__init__(exchange, channel, check)
        self._stream = call
        self._parse = service_pb2.ModelStreamInferResponse.FromString
        self._request: Request
        self._first = 0.0
        self._responses = 0
        self._wrong: str | None = None
        self._reading = self._create_task(self._read())

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self._request = request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self._responses, self._wrong = 0, None
        self.sent = monotonic()
        self._task = self._create_task(self._write(request.data))

    async def _write(self, data: bytes) -> None:
        # Why a write fails, the reader learns.
        with contextlib.suppress(self._rpc_error, asyncio.InvalidStateError):
            await self._stream.write(data)

    async def _read(self) -> None:
        import grpc

        try:
            while (data := await self._stream.read()) is not grpc.aio.EOF:
                self._take(self._parse(data))
            kind, text = "reset", "the server ended the stream"
        except self._rpc_error as error:
            kind, text = self._describe(error)
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
        self._stream.cancel()
