"""What differs between the ways of running a Triton server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serve_deploy.triton.options import RuntimeName, ServerOptions


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
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    release: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()


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
