"""Opens the hot loop's HTTP connections."""

from __future__ import annotations

import asyncio
import socket
import ssl

from serve_deploy.endpoint.address import Endpoint, build_ssl_context
from serve_deploy.loadtest.clients.exchange import Exchange, Slot
from serve_deploy.loadtest.clients.http_connection import (
    OpenBody,
    ReplyHead,
    SocketConnection,
    TransportConnection,
)
from serve_deploy.loadtest.clients.sockets import connect_socket


class HttpClient:
    """Opens connections to one endpoint, over its addresses in turn."""

    def __init__(self, endpoint: Endpoint, exchange: Exchange, open_body: OpenBody | None) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._ssl: ssl.SSLContext | None = build_ssl_context(endpoint.tls) if endpoint.is_encrypted else None
        self._known = ReplyHead(keeps_bodies=open_body is not None)
        self._open_body = open_body
        self._opened = 0

    async def open_slot(self) -> Slot:
        """Connect; OSError (TLS errors are such too) where that fails."""
        attempt, self._opened = self._opened, self._opened + 1
        plain = await connect_socket(self._endpoint, attempt)
        try:
            return await self._wrap(plain)
        except BaseException:
            plain.close()
            raise

    async def _wrap(self, plain: socket.socket) -> Slot:
        if not self._ssl:
            return SocketConnection(self._exchange, self._known, self._open_body, plain)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: TransportConnection(self._exchange, self._known, self._open_body),
            sock=plain,
            ssl=self._ssl,
            server_hostname=self._endpoint.host,
        )
        return connection

    async def close(self) -> None:
        """Nothing is left open but the connections, which their owner closes."""
