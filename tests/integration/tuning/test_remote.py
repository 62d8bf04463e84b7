"""Tuning on a running server: its model has its own configuration again, however the run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from timed_models import add_timed_model

from serve_deploy import ServerOptions, TritonServer, TuneOptions, UsageError, parse_endpoint, start_server, tune
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import EndpointError
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.candidates.fields import configure
from serve_deploy.tuning.servers.overrides import put_back
from serve_deploy.tuning.servers.remote import remote_servers

SMALL = [
    "--concurrency", "8", "--max-batch-size", "8", "--max-instances", "1", "--max-delay", "0", "--finalists", "1",
    "--max-rounds", "4", "--period", "0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gains from batches."""
    folder = tmp_path_factory.mktemp("remote") / "models"
    add_timed_model(folder, base=0.003, row=0.001)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    """A server in explicit mode, whose model every test leaves as its file says."""
    options = ServerOptions(repository=repository, runtime="embedded", models=("timed",), explicit=True)
    with start_server(options) as server:
        yield server


def _config(server: TritonServer) -> Any:
    with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=120) as control:
        return control.model_config("timed")


def _measured(state: Path) -> int:
    return sum(path.read_bytes().count(b'"measured"') for path in state.glob("serve/tune/*.jsonl"))


def _wait_until(is_so: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def _tuning(repository: Path, server: TritonServer, state: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has overridden the model, and measures it so long that a busy machine does not miss it."""
    before = _config(server)
    with subprocess.Popen(
        [sys.executable, "-m", "serve_cli", "tune", str(repository), "--url", server.http_url, *SMALL, "--period", "3"],
        env=os.environ | {"XDG_STATE_HOME": str(state)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        try:
            _wait_until(lambda: run.poll() is not None or (_measured(state) and _config(server) != before))
            assert run.poll() is None, run.stderr.read()
            yield run
        finally:
            run.kill()


def test_a_model_that_is_not_loaded_is_to_be_loaded_first(server: TritonServer, tmp_path: Path) -> None:
    """The hint is the command that loads it."""
    add_timed_model(tmp_path / "models", "another", base=0.003, row=0.001)
    endpoint = parse_endpoint(server.http_url)
    with pytest.raises(EndpointError, match="another") as refusal:
        tune(TuneOptions(repository=tmp_path / "models", endpoint=endpoint, state=tmp_path / "state"))
    assert refusal.value.hint == f"load it first: serve models {server.http_url} --load another"


def test_a_running_server_is_tuned_and_put_back(repository: Path, server: TritonServer, tmp_path: Path) -> None:
    """Candidates are raced by overrides, and the server has its file's configuration afterwards."""
    before = _config(server)
    result = tune(
        TuneOptions(
            repository=repository, endpoint=parse_endpoint(server.http_url),
            state=tmp_path / "state", concurrency=8, max_batch_size=8, max_instances=1, max_delay_us=0, finalists=1,
            max_rounds=8, period_seconds=0.1,
        )
    )  # fmt: skip
    (raced,) = result.race
    assert raced.measured is not None
    assert raced.measured.mean_batch_size > 2  # the file's largest
    assert _config(server) == before
    assert list((tmp_path / "state" / "overrides").iterdir()) == []


def test_an_override_goes_over_grpc_too(server: TritonServer) -> None:
    """A configuration that is given with a load is served, until the model is put back."""
    endpoint, before = parse_endpoint(server.grpc_url), _config(server)
    with ControlPlane(endpoint, timeout_seconds=120) as control:
        seen = control.model_config("timed")
        control.load_model("timed", {**seen, "instance_group": [{"count": 2, "kind": "KIND_CPU"}]})
    assert _config(server)["instance_group"][0]["count"] == 2
    put_back(endpoint, {"timed": seen})
    assert _config(server) == before


def test_a_server_that_was_started_again_is_not_taken_for_the_candidate(
    repository: Path, server: TritonServer, tmp_path: Path
) -> None:
    """Somebody loads the file's configuration meanwhile, as a new start does: what is measured then is another one."""
    endpoint, folder = parse_endpoint(server.http_url), read_model_folder(repository / "timed")
    with remote_servers(endpoint, {"timed": folder}, tmp_path) as servers:
        served = servers.serve({"timed": configure(folder.config, Candidate.of({BATCH: 4}))})
        served.require_unchanged()
        with ControlPlane(endpoint, timeout_seconds=120) as control:
            control.unload_model("timed")
            control.load_model("timed")
        with pytest.raises(EndpointError, match="does not serve timed any more as it was told to"):
            served.require_unchanged()


def test_ctrl_c_puts_the_model_back(repository: Path, server: TritonServer, tmp_path: Path) -> None:
    """The run ends with 130, and the server has its file's configuration again."""
    before = _config(server)
    with _tuning(repository, server, tmp_path) as run:
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=300)
    assert (run.returncode, _config(server) == before) == (130, True), said


def test_a_killed_run_is_put_back_by_the_next(repository: Path, server: TritonServer, tmp_path: Path, serve) -> None:
    """`kill -9` leaves the override and its journal; --restore takes both away, and what was measured stays."""
    before = _config(server)
    with _tuning(repository, server, tmp_path) as run:
        run.kill()
        run.communicate()
    kept = _measured(tmp_path)
    assert _config(server) != before
    done = serve("tune", "--restore", env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
    assert (done.returncode, "has its file's configuration again" in done.stdout) == (0, True), done.stderr
    assert _config(server) == before
    again = serve("tune", "--restore", env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
    assert (again.stdout, _measured(tmp_path)) == ("nothing to put back\n", kept)


def test_a_server_that_is_gone_is_said(tmp_path: Path, serve) -> None:
    """The journal stays until the server answers, and the exit code says that it is not done."""
    journal = tmp_path / "serve" / "overrides" / "0123.json"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"url": "http://127.0.0.1:9", "models": {"timed": {}}}')
    done = serve("tune", "--restore", env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
    assert (done.returncode, "otherwise configured" in done.stdout, journal.exists()) == (6, True, True)


def test_a_server_of_other_files_is_refused(repository: Path, server: TritonServer, tmp_path: Path) -> None:
    """Overrides are built from the file, so it has to be the server's."""
    other = copytree(repository, tmp_path / "models")
    config = other / "timed" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 2", "max_batch_size: 8"))
    with pytest.raises(UsageError, match="another configuration"):
        tune(TuneOptions(repository=other, endpoint=parse_endpoint(server.http_url), state=tmp_path / "state"))
