"""The ways of running a Triton server, and which of them is taken."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from serve_deploy.errors import TritonStartError
from serve_deploy.extras import install_command
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.triton.embedded import EmbeddedRuntime, name_regions
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.runtime import Launch, Ports, Runtime, server_arguments
from serve_deploy.triton.staging import stage_repository

_CONTAINER_PATH = Path("/opt/tritonserver/bin/tritonserver")
_IMAGE = "nvcr.io/nvidia/tritonserver:{release}-py3"
_MODELS = "/models"
# Ports inside the container; those on the host are the ones asked for.
_INSIDE = Ports(http=8000, grpc=8001, metrics=8002)

Run = Callable[[Sequence[str]], int]
Which = Callable[[str], str | None]


def select_runtime(name: RuntimeName | None, runtimes: Sequence[Runtime]) -> Runtime:
    """Take the runtime asked for, else the first that is there; raises TritonStartError saying how to get one."""
    missing = []
    for runtime in runtimes:
        if name not in (None, runtime.name):
            continue
        reason = runtime.why_unavailable()
        if reason is None:
            return runtime
        missing.append(f"{runtime.name}: {reason}")
    asked = f"the {name} runtime" if name else "a Triton runtime"
    raise TritonStartError(
        f"{asked} is not available here ({'; '.join(missing)})",
        hint=f"{install_command('local')} brings a real Triton for Linux on x86-64 with Python 3.11 or 3.12; "
        "or install Docker, or put tritonserver on PATH",
    )


def known_runtimes() -> tuple[Runtime, ...]:
    """All runtimes, in the order in which they are tried.

    An installed Triton has the native backends and is what production runs; the embedded one needs neither a daemon
    nor a download; a container comes last, because its image is many gigabytes.
    """
    return (InstalledRuntime(), EmbeddedRuntime(), DockerRuntime())


class InstalledRuntime:
    """The tritonserver that is installed here: on PATH, else where NVIDIA's container has it."""

    name: RuntimeName = "installed"

    def why_unavailable(self) -> str | None:
        """Say what is missing, if anything."""
        return None if _find_server() else f"no tritonserver on PATH, nor at {_CONTAINER_PATH}"

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:
        """Start it with the environment as it is: it brings its own backends."""
        repository = stage_repository(options.repository, folder)
        regions = name_regions(server_id)
        arguments = server_arguments(options, ports, server_id, repository=str(repository.path))
        return Launch((_find_server() or "tritonserver", regions, *arguments), repository=repository)


def _find_server() -> str | None:
    found = shutil.which("tritonserver")
    if found is None and os.access(_CONTAINER_PATH, os.X_OK):
        return str(_CONTAINER_PATH)
    return found


def _run_quietly(command: Sequence[str]) -> int:
    return subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


class DockerRuntime:
    """NVIDIA's container of the release asked for, published on the host address asked for."""

    name: RuntimeName = "docker"

    def __init__(self, run: Run = _run_quietly, which: Which = shutil.which) -> None:
        self._run = run
        self._which = which

    def why_unavailable(self) -> str | None:
        """Say what is missing, if anything."""
        if self._which("docker") is None:
            return "no docker on PATH"
        return "the docker daemon does not answer" if self._run(["docker", "info"]) else None

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:  # noqa: ARG002
        """Mount the repository read-only, and all GPUs where the container toolkit is there to pass them on."""
        name = f"serve-{server_id}"
        gpus = ["--gpus=all"] if self._which("nvidia-container-cli") else []
        publish = [
            f"--publish={options.host}:{outer}:{inner}"
            for outer, inner in ((ports.http, 8000), (ports.grpc, 8001), (ports.metrics, 8002))
        ]
        command = [
            "docker", "run", "--rm", f"--name={name}", "--shm-size=1g", "--ulimit=memlock=-1", *gpus, *publish,
            f"--mount=type=bind,source={options.repository.resolve()},target={_MODELS},readonly",
            _IMAGE.format(release=options.release or DEFAULT_RELEASE), "tritonserver",
            *server_arguments(options, _INSIDE, server_id, repository=_MODELS, host="0.0.0.0"),  # noqa: S104
        ]  # fmt: skip
        return Launch(
            tuple(command),
            release=("docker", "rm", "--force", name),
            memory=("docker", "top", name, "-eo", "rss"),
        )
