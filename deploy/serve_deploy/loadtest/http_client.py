"""The hot loop's HTTP: ready bytes over keep-alive connections, each with at most one request in flight."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic
from typing import cast

import httptools

from serve_deploy.loadtest.endpoint import Endpoint, build_ssl_context
from serve_deploy.loadtest.exchange import Exchange, Request, Slot
from serve_deploy.loadtest.payload import http_error_text


class HttpConnection(asyncio.Protocol):
    """A connection as a state machine: send, wait for the whole reply, tell the exchange; no task, no future."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.intended = self.sent = 0.0
        self.is_busy = False
        self.is_open = True
        self.next_request: Callable[[], Request] = exchange.request_source()
        self._chunk = b""
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write
        # Write at once, not at the end of the loop's turn: the send is when we say that it is.
        self.transport.set_write_buffer_limits(high=0)

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        request = self.next_request()
        self.intended = intended
        self.is_busy = True
        self.sent = monotonic()
        self._write(request.data)

    def data_received(self, data: bytes) -> None:
        self._chunk = data
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._end_broken("protocol", f"not an HTTP reply: {error}")

    def on_message_complete(self) -> None:
        if not self.is_busy:
            self.transport.abort()
            return
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            # Not to be used again: the exchange must learn of the loss before it picks a slot.
            self.exchange.lose(self)
            self.transport.close()
        self.is_busy = False
        if status == 200:
            self.exchange.finish(self, 0)
        else:
            self.exchange.fail(self, f"http_{status}", http_error_text(status, self._chunk))

    def connection_lost(self, error: Exception | None) -> None:
        if self.is_busy:
            self._end_broken("reset", str(error) if error else "the server closed the connection before it replied")
        else:
            self.exchange.lose(self)

    def _end_broken(self, kind: str, text: str) -> None:
        self.exchange.lose(self)
        self.transport.abort()
        if self.is_busy:
            self.is_busy = False
            self.exchange.fail(self, kind, text)

    def give_up(self) -> None:
        """Stop waiting for the reply: the connection cannot be used again."""
        self.is_busy = False
        self.exchange.lose(self)
        self.transport.abort()

    def close(self) -> None:
        """Close an idle connection in order."""
        self.transport.close()


class HttpClient:
    """Opens connections to one endpoint, over its addresses in turn."""

    def __init__(self, endpoint: Endpoint, exchange: Exchange) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._ssl: ssl.SSLContext | None = build_ssl_context(endpoint.tls) if endpoint.is_encrypted else None
        self._opened = 0

    async def open_slot(self) -> Slot:
        """Connect; OSError (TLS errors are such too) where that fails."""
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(self._endpoint.host, self._endpoint.port, type=1)
        address = addresses[self._opened % len(addresses)][4]
        self._opened += 1
        _, connection = await loop.create_connection(
            lambda: HttpConnection(self._exchange),
            str(address[0]),
            int(address[1]),
            ssl=self._ssl,
            server_hostname=self._endpoint.host if self._ssl else None,
        )
        return connection

    async def close(self) -> None:
        """Nothing is left open but the connections, which their owner closes."""
