"""Starting and stopping a real Triton."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_models import add_to_repository, doubling_model

from serve_deploy.errors import TritonStartError
from serve_deploy.triton import ServerOptions, TritonServer, start_server
from serve_deploy.triton.embedded import EmbeddedRuntime
from serve_deploy.triton.runtime import Ports

_CONFIG = """
max_batch_size: 4
input { name: 'x' data_type: TYPE_FP32 dims: 3 }
output { name: 'y' data_type: TYPE_FP32 dims: 3 }
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    add_to_repository(folder, "good", doubling_model(), _CONFIG + " instance_group { count: 1 }")
    add_to_repository(folder, "bad", doubling_model(), "platform: 'nosuch'" + _CONFIG.replace("onnxruntime", "nosuch"))
    return folder


@pytest.fixture(scope="module")
def server(triton_server, repository) -> TritonServer:
    return triton_server(repository, auto_complete=False)


def test_started_server_is_ours_and_its_models_have_finished_loading(server: TritonServer) -> None:
    """When start_server returns, each model is READY or UNAVAILABLE with a reason, and the metadata is known."""
    states = {state.name: state for state in server.model_states()}
    assert states["good"].state == "READY"
    assert states["bad"].state == "UNAVAILABLE"
    assert states["bad"].reason
    assert server.version == "2.51.0"
    assert server.runtime == "embedded"
    assert server.poll() is None


def test_server_tells_its_memory_and_its_log(server: TritonServer) -> None:
    """The memory covers the server and the processes of its models; the log is what it wrote."""
    rollup = dict(line.split(":") for line in Path(f"/proc/{server.pid}/smaps_rollup").read_text().splitlines()[1:])
    own = int(rollup["Pss"].split()[0]) * 1024
    assert server.memory_bytes() > own > 0
    assert "successfully loaded 'good'" in server.log_text()


def test_leaving_the_context_leaves_nothing(repository: Path) -> None:
    """No process, port, folder or shared memory outlives the context, and the log can still be read."""
    with start_server(ServerOptions(repository=repository, runtime="embedded")) as server:
        port = int(server.http_url.rpartition(":")[2])
        regions = _regions_of(server)
        assert regions
    assert server.poll() is not None
    assert not any(region.exists() for region in regions)
    assert "Started HTTPService" in server.log_text()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_server_dies_with_a_killed_parent(repository: Path) -> None:
    """Even SIGKILL of the process that started it ends the server and removes what it had in memory."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom serve_deploy.triton import *\n"
        "server = start_server(ServerOptions(repository=Path(sys.argv[1]), runtime='embedded'))\n"
        "print(server.pid, flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(repository)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        server = os.pidfd_open(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    try:
        assert _ends(server)
    finally:
        os.close(server)


def test_a_busy_given_port_is_one_clear_error(repository: Path) -> None:
    """A port that somebody listens on is named, with the option that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(TritonStartError, match=f"127.0.0.1:{port} for grpc") as caught:
            start_server(ServerOptions(repository=repository, runtime="embedded", grpc_port=port))
    assert "`grpc_port`" in (caught.value.hint or "")


def test_a_port_taken_just_before_the_start_is_replaced(repository: Path) -> None:
    """On free ports, a clash between choice and start is tried again on others."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        runtime = _FirstOnTakenPort(busy.getsockname()[1])
        with start_server(ServerOptions(repository=repository), runtimes=(runtime,)) as server:
            assert runtime.starts == 2
            assert server.poll() is None


class _FirstOnTakenPort(EmbeddedRuntime):
    def __init__(self, taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.starts = 0

    def prepare(self, options, ports, server_id, folder):
        self.starts += 1
        if self.starts == 1:
            ports = Ports(http=ports.http, grpc=self.taken, metrics=ports.metrics)
        return super().prepare(options, ports, server_id, folder)


def test_a_triton_that_dies_at_start_shows_its_last_lines(repository: Path) -> None:
    """The error carries what Triton wrote last."""
    options = ServerOptions(repository=repository, runtime="embedded", extra_arguments=("--no-such-flag=1",))
    with pytest.raises(TritonStartError, match="no-such-flag"):
        start_server(options)


def test_installed_runtime_starts_what_is_on_path(repository: Path, native: Path) -> None:
    """A tritonserver on PATH is started with its own environment and backends."""
    with start_server(ServerOptions(repository=repository)) as server:
        assert server.runtime == "installed"
        assert "READY" in {state.state for state in server.model_states()}


def test_docker_runtime_runs_and_removes_a_container(repository: Path, native: Path) -> None:
    """Through a docker client that runs the container's command here: mounts, ports, memory and the removal fit."""
    docker = native / "docker"
    docker.write_text(_DOCKER)
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    with start_server(ServerOptions(repository=repository, release="24.10", runtime="docker")) as server:
        assert server.runtime == "docker"
        assert "READY" in {state.state for state in server.model_states()}
        assert server.memory_bytes() == 5120 * 1024
    calls = (native / "calls.txt").read_text().splitlines()
    assert calls[0] == "info"
    assert calls[1].startswith("run --rm --name=serve-")
    assert "nvcr.io/nvidia/tritonserver:24.10-py3 tritonserver --model-repository=/models" in calls[1]
    assert calls[-1] == f"rm --force {calls[1].split()[2].removeprefix('--name=')}"


# What docker does with the arguments, without a container: the mount is replaced by its source, the container's
# ports by those published.
_DOCKER = """#!/usr/bin/env python3
import os, sys
from pathlib import Path

here, (verb, *rest) = Path(__file__).parent, sys.argv[1:]
with open(here / "calls.txt", "a") as calls:
    print(*sys.argv[1:], file=calls)
if verb == "top":
    print("RSS", 1024, 4096, sep="\\n")
if verb == "run":
    ports = {}
    for argument in rest:
        if argument.startswith("--publish="):
            host, outer, inner = argument.removeprefix("--publish=").split(":")
            ports[inner] = outer
        if argument.startswith("--mount="):
            source = argument.partition("source=")[2].partition(",target=")[0]
    command = rest[rest.index("tritonserver"):]
    command = [argument.replace("=/models", f"={source}").replace("0.0.0.0", "127.0.0.1") for argument in command]
    command = [f"{flag}={ports.get(value, value)}" if value else flag
               for flag, _, value in (argument.partition("=") for argument in command)]
    os.execv(here / "tritonserver", command)
"""


def _regions_of(server: TritonServer) -> list[Path]:
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    return [region for region in Path("/dev/shm").glob("serve-*") if str(region) in maps]


def _ends(pidfd: int) -> bool:
    import select

    return bool(select.select([pidfd], [], [], 20)[0])
