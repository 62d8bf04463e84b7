"""`wait_seconds`: a model that comes in time is waited for, one that does not ends the wait with the last reason."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ports import free_port
from repositories import add_model

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.readiness import wait_until_ready
from serve_deploy.errors import EndpointError
from serve_deploy.triton import ServerOptions, TritonServer, start_server


@pytest.fixture(scope="module")
def server(triton_server: Callable[..., TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A server with a model that is not loaded."""
    repository = tmp_path_factory.mktemp("waiting")
    add_model(repository)
    return triton_server(repository, explicit=True)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_model_that_is_loaded_in_time_is_waited_for(server: TritonServer, protocol: str) -> None:
    """The wait says that the server answers without the model, and ends when the model is ready."""
    told: list[str] = []
    server.unload_model("digits")
    endpoint = parse_endpoint(getattr(server, f"{protocol}_url"))
    wait_until_ready(
        endpoint, "digits", timeout_seconds=60, progress=told.append, sleep=lambda _: server.load_model("digits")
    )
    assert len(told) == 1
    assert told[0].startswith(f"waiting for digits: {endpoint.url} answers, but ")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_wait_ends_with_what_was_wrong_last(server: TritonServer, protocol: str) -> None:
    """A model that never comes: the end says for how long it was waited for, and what there is instead."""
    clock = itertools.count(0.0, 2.0)
    endpoint = parse_endpoint(getattr(server, f"{protocol}_url"))
    with pytest.raises(EndpointError, match=r"nothing was not ready within 5 s: .* serves no model 'nothing'") as ended:
        wait_until_ready(endpoint, "nothing", timeout_seconds=5, clock=lambda: next(clock), sleep=lambda _: None)
    assert ended.value.hint == "it serves digits"


def test_a_server_that_is_started_in_time_is_waited_for(tmp_path: Path) -> None:
    """Until the server listens, the wait says that nothing does."""
    add_model(tmp_path)
    port, started, told = free_port(), list[TritonServer](), list[str]()

    def start(_seconds: float) -> None:
        if not started:
            started.append(start_server(ServerOptions(repository=tmp_path, runtime="embedded", http_port=port)))

    try:
        endpoint = parse_endpoint(f"http://127.0.0.1:{port}")
        wait_until_ready(endpoint, "digits", timeout_seconds=120, progress=told.append, sleep=start)
    finally:
        for server in started:
            server.stop(drain=False)
    assert "Connection refused" in told[0]


@pytest.mark.parametrize("command", [["loadtest"], ["infer", "--random"]])
def test_commands_exit_6_when_nobody_comes(command: list[str]) -> None:
    """The shell tells what it waits for, also without a terminal, and ends with the endpoint's code."""
    verb, *options = command
    typed = [verb, f"http://127.0.0.1:{free_port()}", "-m", "digits", "--wait", "3", *options]
    done = subprocess.run(
        [sys.executable, "-m", "serve_cli", *typed], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 6
    first, *_, last, _hint = done.stderr.splitlines()
    assert first.startswith("waiting for digits: http://")
    assert last.startswith("error: digits was not ready within 3 s: http://")
    assert "Connection refused" in last
