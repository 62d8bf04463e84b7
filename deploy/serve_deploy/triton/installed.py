"""The tritonserver that is installed on this machine, as it is in NVIDIA's container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from serve_deploy.triton.arguments import server_arguments
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.runtime import Launch, Ports

_CONTAINER_PATH = Path("/opt/tritonserver/bin/tritonserver")


class InstalledRuntime:
    """tritonserver on PATH, else where NVIDIA's container has it."""

    name: RuntimeName = "installed"

    def why_unavailable(self) -> str | None:
        """Say what is missing, if anything."""
        return None if _find_server() else f"no tritonserver on PATH, nor at {_CONTAINER_PATH}"

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:  # noqa: ARG002
        """Start it with the environment as it is: it brings its own backends."""
        return Launch((_find_server() or "tritonserver", *server_arguments(options, ports, server_id)))


def _find_server() -> str | None:
    found = shutil.which("tritonserver")
    if found is None and os.access(_CONTAINER_PATH, os.X_OK):
        return str(_CONTAINER_PATH)
    return found
