"""How a Triton server is to be started; the same for every runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve_deploy.endpoint.control import ModelState

RuntimeName = Literal["embedded", "docker", "installed"]
ControlMode = Literal["none", "poll", "explicit"]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """A port of 0 means a free one; `models` are loaded at start in explicit mode."""

    repository: Path
    host: str = "127.0.0.1"
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    control_mode: ControlMode = "none"
    models: tuple[str, ...] = ()
    auto_complete: bool = True
    exit_on_error: bool = False
    exit_timeout_seconds: int = 30
    release: str | None = None
    extra_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerStatus:
    """A running server as `serve run` shows it."""

    http_url: str
    grpc_url: str
    metrics_url: str
    runtime: RuntimeName
    triton_version: str
    pid: int
    models: tuple[ModelState, ...]

    @property
    def ready(self) -> bool:
        """Whether any model can be asked."""
        return any(model.state == "READY" for model in self.models)
