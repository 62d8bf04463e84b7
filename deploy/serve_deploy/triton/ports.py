"""Free ports, and whether a given one is."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from serve_deploy.errors import TritonStartError
from serve_deploy.triton.options import ServerOptions
from serve_deploy.triton.runtime import Ports


def choose_ports(options: ServerOptions) -> Ports:
    """Fill in a free port for each 0; raises TritonStartError naming a given port that is in use.

    The ports are held together until all are known, so no two are the same; somebody else can still take one before
    the server does, which is why a start on free ports is tried again.
    """
    asked = (("http", options.http_port), ("grpc", options.grpc_port), ("metrics", options.metrics_port))
    with ExitStack() as held:
        return Ports(**{name: _bind(held, options.host, port, name) for name, port in asked})


def _bind(held: ExitStack, host: str, port: int, name: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    if port:
        # As a server does, or a port whose last connections are in TIME_WAIT would seem to be in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        raise TritonStartError(
            f"cannot listen on {host}:{port} for {name}: {error.strerror or error}",
            hint=f"end what uses the port, or choose another with --{name}-port (0 takes a free one)",
        ) from error
    return int(listener.getsockname()[1])
