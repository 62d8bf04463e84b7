"""Connected sockets of the hot loop."""

from __future__ import annotations

import asyncio
import socket

from serve_deploy.endpoint.address import Endpoint


async def connect_socket(endpoint: Endpoint, attempt: int) -> socket.socket:
    """A socket that is connected to one of the endpoint's addresses, which take turns; OSError where it is not."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    family, _, _, _, address = addresses[attempt % len(addresses)]
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(plain, address)
    except BaseException:
        plain.close()
        raise
    return plain
