"""What differs between the ways of running a Triton server, and which of them is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serve_deploy.errors import TritonStartError
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


def known_runtimes() -> tuple[Runtime, ...]:
    """All runtimes, in the order in which they are tried.

    An installed Triton has the native backends and is what production runs; the embedded one needs neither a daemon
    nor a download; a container comes last, because its image is many gigabytes.
    """
    from serve_deploy.triton.docker import DockerRuntime
    from serve_deploy.triton.embedded import EmbeddedRuntime
    from serve_deploy.triton.installed import InstalledRuntime

    return (InstalledRuntime(), EmbeddedRuntime(), DockerRuntime())


def select_runtime(name: RuntimeName | None, runtimes: tuple[Runtime, ...] | None = None) -> Runtime:
    """Take the runtime asked for, else the first that is there; raises TritonStartError saying how to get one."""
    missing = []
    for runtime in runtimes or known_runtimes():
        if name not in (None, runtime.name):
            continue
        reason = runtime.why_unavailable()
        if reason is None:
            return runtime
        missing.append(f"{runtime.name}: {reason}")
    asked = f"the {name} runtime" if name else "a Triton runtime"
    raise TritonStartError(
        f"{asked} is not available here ({'; '.join(missing)})",
        hint="pip install 'triton-serve[local]' brings a real Triton for Linux on x86-64 with Python 3.11 or 3.12; "
        "or install Docker, or put tritonserver on PATH",
    )
