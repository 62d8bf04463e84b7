"""What the ways of running a Triton server have in common: its ports, its arguments, and the process to start."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serve_deploy.errors import TritonStartError
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.staging import StagedRepository


@dataclass(frozen=True)
class Ports:
    """The ports of one server on this machine, none of them 0."""

    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class Launch:
    """One process to start.

    `release` is a command that ends what the process leaves behind when it is killed (a container), and `memory` one
    that prints the resident memory of its processes in KiB, a line each; without them the process group has both.
    `repository` says by which path the server knows it, where that may be another.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    release: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    repository: StagedRepository | None = None


class Runtime(Protocol):
    """A way of running Triton: whether it is there, and the command that starts it."""

    @property
    def name(self) -> RuntimeName: ...

    def why_unavailable(self) -> str | None:
        """One sentence saying what is missing; None where the runtime can be used."""
        ...

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:
        """Say how to start the server; `folder` is its own, empty, and gone after it."""
        ...


def choose_ports(options: ServerOptions) -> Ports:
    """Fill in a free port for each 0; raises TritonStartError naming a given port that is in use.

    The ports are held together until all are known, so no two are the same; another process can still take one before
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
            hint=f"stop what uses the port, or choose another with `{name}_port` (0 takes a free one)",
        ) from error
    return int(listener.getsockname()[1])


def server_arguments(
    options: ServerOptions, ports: Ports, server_id: str, *, repository: str | None = None, host: str | None = None
) -> tuple[str, ...]:
    """tritonserver's arguments; `repository` and `host` are as the server sees them, which in a container differs."""
    host = host or options.host
    is_explicit = bool(options.explicit or options.watch or options.models)
    # A watched repository starts with everything.
    models = options.models or (() if options.explicit else ("*",))
    return (
        f"--model-repository={repository or options.repository.resolve()}",
        f"--id={server_id}",
        f"--http-address={host}",
        f"--grpc-address={host}",
        f"--metrics-address={host}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        f"--model-control-mode={'explicit' if is_explicit else 'none'}",
        "--exit-on-error=false",
        f"--exit-timeout-secs={options.exit_timeout_seconds}",
        *([] if options.auto_complete else ["--disable-auto-complete-config"]),
        *(f"--load-model={model}" for model in models if is_explicit),
        *([f"--model-config-name={options.model_config_name}"] if options.model_config_name else []),
        *options.extra_arguments,
    )
