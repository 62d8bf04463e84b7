"""Triton in NVIDIA's container."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.triton.arguments import server_arguments
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.runtime import Launch, Ports

_IMAGE = "nvcr.io/nvidia/tritonserver:{release}-py3"
_MODELS = "/models"
# Ports inside the container; those on the host are the ones asked for.
_INSIDE = Ports(http=8000, grpc=8001, metrics=8002)

Run = Callable[[Sequence[str]], int]
Which = Callable[[str], str | None]


def _run_quietly(command: Sequence[str]) -> int:
    return subprocess.run(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    ).returncode


class DockerRuntime:
    """A container of the release asked for, published on the host address asked for."""

    name: RuntimeName = "docker"

    def __init__(self, run: Run = _run_quietly, which: Which = shutil.which) -> None:
        self._run = run
        self._which = which

    def why_unavailable(self) -> str | None:
        """Say what is missing, if anything."""
        if self._which("docker") is None:
            return "no docker on PATH"
        if self._run(["docker", "info"]) != 0:
            return "the docker daemon does not answer"
        return None

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
