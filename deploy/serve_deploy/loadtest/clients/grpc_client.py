"""Opens the hot loop's gRPC slots."""

from __future__ import annotations

from typing import Any

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import SERVICE, call_metadata, open_channel
from serve_deploy.loadtest.clients.exchange import Exchange, Slot
from serve_deploy.loadtest.clients.grpc_slots import Checker, GrpcSlot, StreamSlot

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
            return StreamSlot(self._exchange, channel, call, self._check)
        invoke = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        return GrpcSlot(self._exchange, channel, invoke, self._metadata, self._check)

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
