"""A gRPC call that carries many messages each way."""

from __future__ import annotations

import zlib
from typing import Protocol

from serve_deploy.loadtest.clients.grpc_messages import (
    Failure,
    MessageReader,
    failure_of,
    failure_of_reset,
)  # fmt: skip
from serve_deploy.loadtest.clients.http2_connection import Http2Connection
from serve_deploy.loadtest.clients.http2_frames import ReplyHead
from serve_deploy.loadtest.clients.http2_sending import Stream


class Receiver(Protocol):
    """Who is told of what arrives on a stream."""

    def on_message(self, message: bytes, received_at: float) -> None:
        """A whole message, and when (monotonic seconds) its last bytes were read."""

    def on_end(self, failure: Failure | None) -> None:
        """The stream is over, and why where not because all was said; called once."""

    def on_draining(self) -> None:
        """The server asks for new streams to be opened elsewhere; this one goes on."""


class MessageStream(Stream):
    """Opened with its creation: `send` as often as wanted, hear of every reply, until the end or `cancel`."""

    def __init__(self, connection: Http2Connection, receiver: Receiver) -> None:
        self.connection = connection
        self._receiver = receiver
        self._reader = MessageReader()
        self._http_status = -1
        connection.users.add(self)
        connection.open(self)

    def send(self, framed: bytes, *, is_last: bool = False) -> None:
        """Send a message as `frame_message` makes it; with the last one our side ends."""
        self.connection.write(self, framed, is_last=is_last)

    def cancel(self) -> None:
        """End the stream; its receiver hears no more of it."""
        self.connection.users.discard(self)
        self.connection.cancel(self)

    def _end(self, failure: Failure | None) -> None:
        self.connection.users.discard(self)
        self._receiver.on_end(failure)

    def on_head(self, head: ReplyHead, is_last: bool) -> None:
        """Called by the connection."""
        if head.http_status != -1:
            self._http_status = head.http_status
        if is_last:
            self._end(failure_of(self._http_status, head))

    def on_data(self, data: memoryview, is_last: bool) -> None:
        """Called by the connection."""
        try:
            for message in self._reader.feed(data):
                self._receiver.on_message(message, self.connection.received_at)
        except zlib.error as error:
            self.cancel()
            self._receiver.on_end(("protocol", f"a message cannot be decompressed: {error}"))
        else:
            if is_last:
                self._end(failure_of(self._http_status, None))

    def on_reset(self, code: int) -> None:
        """Called by the connection."""
        self._end(failure_of_reset(code))

    def on_unprocessed(self) -> None:
        """Called by the connection."""
        self._end(("reset", "the server went away before it took the stream"))

    def on_draining(self) -> None:
        """Called by the connection."""
        self._receiver.on_draining()

    def on_lost(self, kind: str, text: str) -> None:
        """Called by the connection."""
        self._end((kind, text or "the server closed the connection"))
