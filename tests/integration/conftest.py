"""Real Triton servers for the suites that need one."""

from __future__ import annotations

import os
import secrets
import select
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from serve_deploy.triton import ServerOptions, TritonServer, start_server
from serve_deploy.triton.embedded import EmbeddedRuntime
from serve_deploy.triton.runtime import Ports


@pytest.fixture(scope="session")
def triton_server() -> Iterator[Callable[..., TritonServer]]:
    """Start an embedded Triton on a repository: `triton_server(path, **server_options)`; it ends with the session."""
    with ExitStack() as servers:

        def start(repository: Path, **options: Any) -> TritonServer:
            return servers.enter_context(
                start_server(
                    ServerOptions(repository=repository, runtime="embedded", exit_timeout_seconds=2, **options)
                )
            )

        yield start


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder first on PATH whose `tritonserver` brings its own libraries and backends, as an installed one does."""
    folder = tmp_path / "layout"
    folder.mkdir()
    launch = EmbeddedRuntime().prepare(ServerOptions(repository=tmp_path), Ports(1, 2, 3), "layout", folder)
    own = [argument for argument in launch.command[1:] if argument.startswith("--backend-directory")]
    wrapper = tmp_path / "bin" / "tritonserver"
    wrapper.parent.mkdir()
    libraries = launch.environment["LD_LIBRARY_PATH"]
    # A container's regions go with it; one that is none leaves them.
    regions = f"native-{secrets.token_hex(4)}-"
    server = f"{launch.command[0]} --backend-config=python,shm-region-prefix-name={regions}"
    wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec {server} "$@" {" ".join(own)}\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    paths = [str(wrapper.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(paths))
    yield wrapper.parent
    for region in Path("/dev/shm").glob(f"{regions}*"):
        region.unlink()


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests, no process that they started runs, and no folder of ours is left."""
    mark, temporary = f"STARTED_BY_TEST_SESSION={secrets.token_hex(8)}", tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(*mark.split("="))
        environment.setenv("TMPDIR", str(temporary))
        environment.setattr("tempfile.tempdir", str(temporary))
        yield
    # The locale's folder lasts as long as this process.
    ours = [name for name in os.listdir(temporary) if name.startswith("serve-")]
    left = [name for name in ours if not name.startswith("serve-temporary-locale-")]
    assert (_running_still(mark.encode()), left) == ([], [])


def _running_still(mark: bytes) -> list[str]:
    """The command lines of processes that have the mark, and do not end within ten seconds."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark not in (process / "environ").read_bytes() or int(process.name) == os.getpid():
                continue
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            handle = os.pidfd_open(int(process.name))
            if not select.select([handle], [], [], 10)[0]:
                running.append(command)
            os.close(handle)
    return running
