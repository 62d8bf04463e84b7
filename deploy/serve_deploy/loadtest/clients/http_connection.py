"""One keep-alive connection of the hot loop: ready bytes out, whole replies in, at most one request in flight.

Plain HTTP reads and writes its socket itself: half the CPU of a transport, on uvloop too. TLS needs the transport.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol, cast

import httptools

from serve_deploy.endpoint.connection import http_error_text
from serve_deploy.loadtest.clients.exchange import Exchange, Request
from serve_deploy.loadtest.clients.validation import check_http_reply

_RECEIVED = bytearray(1 << 18)
_VIEW = memoryview(_RECEIVED)
_MOST_KEPT_BYTES = 2000


class ReplyHead:
    """The head of a reply that was parsed whole: the same bytes again mean the same status and length.

    Where bodies are kept, to be validated, every reply is parsed and no head is learned.
    """

    def __init__(self, *, keeps_bodies: bool) -> None:
        self.keeps_bodies = keeps_bodies
        self.head = b"\0"
        self.length = -1

    def learn(self, start: bytes, length: int) -> None:
        """Remember a complete successful reply by its start, if that declares what was received."""
        head, separator, _ = start.partition(b"\r\n\r\n")
        declared = b"\r\ncontent-length: %d\r\n" % (length - len(head) - len(separator))
        if not self.keeps_bodies and separator and declared in head.lower() + b"\r\n":
            self.head, self.length = head + separator, length


class Body(Protocol):
    """Hears of a reply from the parser in its connection's place, and passes its end on."""

    # Whether the reply is over when the connection is: it says neither its length nor that it comes in chunks.
    ends_with_connection: bool

    def content(self) -> bytes:
        """What the reply holds, as far as it was kept."""

    def difference(self, expected: Any) -> str | None:
        """What is wrong with the reply; None where nothing is, or nothing was expected."""


class KeptBody:
    """A whole body, to be compared with what was expected."""

    ends_with_connection = False

    def __init__(self, connection: HttpConnection) -> None:
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        self._parts: list[bytes] = []
        self._json_length: int | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"inference-header-content-length":
            self._json_length = int(value)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self._parts)

    def difference(self, expected: Any) -> str | None:
        """What is wrong with the reply; None where nothing is, or nothing was expected."""
        return check_http_reply(self.content(), self._json_length, expected) if expected else None


OpenBody = Callable[["HttpConnection"], Body]


class HttpConnection:
    """A connection as a state machine: send, wait for the whole reply, tell the exchange; no task, no future."""

    def __init__(self, exchange: Exchange, known: ReplyHead, open_body: OpenBody | None) -> None:
        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.free_since = math.inf
        self.is_busy = False
        self.is_open = True
        self.request: Request
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._known = known
        self._kept = b""
        self._chunk_length = 0
        self._body = open_body(self) if open_body else None
        self.parser = httptools.HttpResponseParser(self._body or self)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        raise NotImplementedError

    def _drop(self) -> None:
        raise NotImplementedError

    def _take(self, data: bytes | memoryview) -> None:
        self._kept = bytes(data[:_MOST_KEPT_BYTES])
        self._chunk_length = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end_broken("protocol", f"not an HTTP reply: {error}")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self.is_busy:
            # Nobody asked: the server gives up on an idle connection.
            self.exchange.lose(self)
            self._drop()
            return
        status = self.parser.get_status_code()
        if self.parser.should_keep_alive():
            if status == 200:
                self._known.learn(self._kept, self._chunk_length)
        else:
            self.exchange.lose(self)
            self._drop()
        self.is_busy = False
        if status != 200:
            kept = self._kept.partition(b"\r\n\r\n")[2] or self._kept
            content = self._body.content() if self._body else kept
            self.exchange.fail(self, f"http_{status}", http_error_text(status, content))
        elif self._body and (wrong := self._body.difference(self.request.expected)):
            self.exchange.fail(self, "wrong_output", wrong)
        else:
            self.exchange.finish(self, 0)

    def _end_closed(self, error: Exception | None) -> None:
        if self.is_busy and self._body and self._body.ends_with_connection and not error:
            self.exchange.lose(self)
            self._drop()
            self.is_busy = False
            self.exchange.finish(self, 0)
            return
        text = "the server closed the connection before it replied"
        if self._kept and self.is_busy and not error:
            text = "the server closed the connection in the middle of its reply"
        self._end_broken("reset", str(error) if error else text)

    def _end_broken(self, kind: str, text: str) -> None:
        self.exchange.lose(self)
        self._drop()
        if self.is_busy:
            self.is_busy = False
            self.exchange.fail(self, kind, text)

    def give_up(self) -> None:
        """Stop waiting for the reply: the connection cannot be used again."""
        self.is_busy = False
        self.exchange.lose(self)
        self._drop()

    def close(self) -> None:
        """Close an idle connection."""
        self._drop()


class SocketConnection(HttpConnection):
    """Over a plain socket, which it owns."""

    def __init__(self, exchange: Exchange, known: ReplyHead, open_body: OpenBody | None, plain: socket.socket) -> None:
        super().__init__(exchange, known, open_body)
        self._socket = plain
        self._send, self._receive_into = plain.send, plain.recv_into
        self._unsent: memoryview | None = None
        self._is_between_replies = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(plain.fileno(), self._read)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self.request = request = self.next_request()
        data = request.data
        self.intended = intended
        self.is_busy = True
        self.sent = monotonic()
        try:
            written = self._send(data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            # Not from within send: its caller is not ready to hear of the end yet.
            self._loop.call_soon(self._end_closed, error)
            return
        if written != len(data):
            self._unsent = memoryview(data)[written:]
            self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        if self._unsent is None:
            return
        try:
            self._unsent = self._unsent[self._send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._end_closed(error)
            return
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        # libuv tells only once of a connection that was reset: in the middle of a reply, read up to that.
        while self._read_once() and not self._is_between_replies and self.is_open:
            pass

    def _read_once(self) -> bool:
        try:
            count = self._receive_into(_RECEIVED)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end_closed(error)
            return False
        known = self._known
        if count == known.length and self.is_busy and self._is_between_replies and _RECEIVED.startswith(known.head):
            self.is_busy = False
            self.exchange.finish(self, 0)
        elif count:
            self._is_between_replies = False
            self._take(_VIEW[:count])
        else:
            self._end_closed(None)
        return bool(count)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._is_between_replies = True
        super().on_message_complete()

    def _drop(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()


class TransportConnection(HttpConnection, asyncio.Protocol):
    """Over a transport: what TLS needs, and loops that cannot watch sockets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        # Write at once, not at the end of the loop's turn: the send is when we say that it is.
        self._transport.set_write_buffer_limits(high=0)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self.request = request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self.sent = monotonic()
        self._transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._take(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._end_closed(error)

    def _drop(self) -> None:
        self._transport.abort()
