"""The hot loop's gRPC: ready bytes through grpc.aio's generic calls, the cheapest that grpcio has on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.endpoint import Endpoint
from serve_deploy.loadtest.clients.exchange import Exchange, Request, Slot
from serve_deploy.loadtest.clients.grpc_channel import SERVICE, call_metadata, channel_credentials, channel_options

_SLOTS_A_CHANNEL = 32
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


class GrpcClient:
    """Opens slots over a few channels: a connection for every 32 of them."""

    def __init__(self, endpoint: Endpoint, exchange: Exchange, *, streaming: bool, check: Checker | None) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._streaming = streaming
        self._check = check
        self._metadata = call_metadata(endpoint)
        self._credentials = channel_credentials(endpoint.tls) if endpoint.is_encrypted else None
        self._channels: list[Any] = []
        self._opened = 0

    async def open_slot(self) -> Slot:
        """A slot on a channel that is connected; OSError where it cannot connect."""
        index = self._opened // _SLOTS_A_CHANNEL % 16
        self._opened += 1
        if index == len(self._channels):
            self._channels.append(self._open_channel())
        channel = self._channels[index]
        await _connect(channel)
        if self._streaming:
            from serve_deploy.loadtest.clients.grpc_stream import StreamSlot

            call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(metadata=self._metadata)
            return StreamSlot(self._exchange, channel, call, self._check)
        invoke = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return GrpcSlot(self._exchange, channel, invoke, self._metadata, self._check)

    def _open_channel(self) -> Any:
        import grpc

        compression = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate, None: None}[
            self._endpoint.compression
        ]
        arguments = {"options": channel_options(), "compression": compression}
        if self._credentials:
            return grpc.aio.secure_channel(self._endpoint.authority, self._credentials, **arguments)
        return grpc.aio.insecure_channel(self._endpoint.authority, **arguments)

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
