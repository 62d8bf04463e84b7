"""Ports for servers that a test starts in processes of their own."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

# Below those that the kernel gives to connections, one of which might take a port before its server does.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nobody listens on."""
    ports, chance = list[int](), random.SystemRandom()
    with ExitStack() as held:
        while len(ports) < count:
            port, listener = chance.choice(_PORTS), held.enter_context(socket.socket())
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
