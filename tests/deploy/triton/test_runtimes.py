"""Which runtime is taken, and what it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.errors import TritonStartError
from serve_deploy.triton import ServerOptions
from serve_deploy.triton.embedded import EmbeddedRuntime
from serve_deploy.triton.runtime import Launch, Ports
from serve_deploy.triton.runtimes import DockerRuntime, InstalledRuntime, known_runtimes, select_runtime

_PORTS = Ports(http=18000, grpc=18001, metrics=18002)


class _Runtime:
    """A runtime that is there, or is not."""

    def __init__(self, name: str, reason: str | None) -> None:
        self.name = name
        self.reason = reason

    def why_unavailable(self) -> str | None:
        return self.reason

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:
        return Launch(("true",))


def test_runtimes_are_tried_native_first_and_docker_last() -> None:
    """An installed Triton is the real thing, the embedded one costs nothing, an image is gigabytes."""
    assert [runtime.name for runtime in known_runtimes()] == ["installed", "embedded", "docker"]


@pytest.mark.parametrize(
    ("asked", "there", "taken"),
    [
        (None, {"installed", "embedded"}, "installed"),
        (None, {"embedded", "docker"}, "embedded"),
        (None, {"docker"}, "docker"),
        ("docker", {"installed", "docker"}, "docker"),
        ("embedded", {"installed"}, None),
        (None, set(), None),
    ],
)
def test_runtime_is_the_one_asked_for_or_the_first_there(asked: str | None, there: set[str], taken: str | None) -> None:
    """Where none fits, the error says why each is missing and how to get one."""
    runtimes = tuple(
        _Runtime(name, None if name in there else f"no {name} here") for name in ("installed", "embedded", "docker")
    )
    if taken is not None:
        assert select_runtime(asked, runtimes).name == taken
        return
    with pytest.raises(TritonStartError, match="no embedded here") as caught:
        select_runtime(asked, runtimes)
    assert "-m pip install nvidia-pytriton==" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("path", "daemon", "reason"),
    [(None, 0, "no docker on PATH"), ("/bin/docker", 1, "the docker daemon does not answer"), ("/bin/docker", 0, None)],
)
def test_docker_needs_a_client_and_a_daemon(path: str | None, daemon: int, reason: str | None) -> None:
    """Both are looked at before an image is asked for."""
    runtime = DockerRuntime(run=lambda command: daemon, which=lambda name: path)
    assert runtime.why_unavailable() == reason


def test_docker_publishes_on_the_host_asked_for_and_mounts_read_only(tmp_path: Path, golden) -> None:
    """The container listens on all its addresses, the machine only on the one asked for."""
    runtime = DockerRuntime(which=lambda name: None)
    options = ServerOptions(
        repository=tmp_path, release="24.10", models=("a", "b"), auto_complete=False,
        extra_arguments=("--log-verbose=1",),
    )  # fmt: skip
    launch = runtime.prepare(options, _PORTS, "id", tmp_path)
    lines = [*launch.command, "", *launch.release, "", *launch.memory]
    golden("triton/docker.txt", "\n".join(lines).replace(str(tmp_path.resolve()), "REPOSITORY") + "\n")


def test_docker_passes_gpus_on_where_the_toolkit_is_there(tmp_path: Path) -> None:
    """Without NVIDIA's container toolkit --gpus would fail."""
    runtime = DockerRuntime(which=lambda name: f"/bin/{name}")
    assert "--gpus=all" in runtime.prepare(ServerOptions(repository=tmp_path), _PORTS, "id", tmp_path).command


def test_installed_needs_tritonserver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty PATH has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no tritonserver on PATH" in (InstalledRuntime().why_unavailable() or "")


def test_an_installed_server_names_its_regions(tmp_path: Path) -> None:
    """In /dev/shm, so that what a killed one leaves is found and removed."""
    launch = InstalledRuntime().prepare(ServerOptions(repository=tmp_path), _PORTS, "id", tmp_path)
    assert "--backend-config=python,shm-region-prefix-name=serve-id-" in launch.command


@pytest.mark.parametrize("has_driver", [True, False], ids=["driver", "none"])
def test_gpu_metrics_are_asked_for_where_there_is_a_driver(tmp_path: Path, has_driver: bool) -> None:
    """The embedded server exports a GPU's metrics, and does not look for one where NVIDIA's driver is missing."""
    driver = tmp_path / "nvidiactl"
    if has_driver:
        driver.touch()
    folder = tmp_path / "layout"
    folder.mkdir()
    options = ServerOptions(repository=tmp_path)
    launch = EmbeddedRuntime(gpu_driver=driver).prepare(options, _PORTS, "metrics", folder)
    assert f"--allow-gpu-metrics={str(has_driver).lower()}" in launch.command
