"""A run that is cut short loses no measurement, leaves nothing behind, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from timed_models import add_timed_model

from serve_deploy import TuneOptions, tune
from serve_deploy.triton.server import TritonServer
from serve_deploy.tuning.servers import servers

SMALL = [
    "--concurrency", "8", "--max-batch-size", "8", "--max-instances", "1", "--max-delay", "0", "--finalists", "1",
    "--max-rounds", "8", "--period", "0.1", "--runtime", "embedded", "--json",
]  # fmt: skip


def _lines(state: Path) -> int:
    return sum(path.read_bytes().count(b'"measured"') for path in state.glob("serve/tune/*.jsonl"))


def test_the_next_run_goes_on(tmp_path: Path, serve) -> None:
    """After Ctrl-C everything that was measured is used, and no folder is left beside the repository."""
    add_timed_model(tmp_path / "models", base=0.003, row=0.001)
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    with subprocess.Popen(
        [sys.executable, "-m", "serve_cli", "tune", str(tmp_path / "models"), *SMALL], env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        try:
            deadline = time.monotonic() + 300
            while _lines(tmp_path / "state") < 4:
                assert run.poll() is None, run.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=300)
        finally:
            run.kill()
    assert (run.returncode, "the same command goes on" in errors) == (130, True)
    before = _lines(tmp_path / "state")
    done = serve("tune", tmp_path / "models", *SMALL, env=environment, timeout=300)
    assert "going on with what was measured before it was cut short\n" in done.stderr
    result = json.loads(done.stdout)
    assert result["effort"]["resumed_measurements"] == before >= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "state"]
    assert _lines(tmp_path / "state") == 0


def test_a_server_that_dies_costs_its_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate whose server ends is recorded with the reason, and the run comes to its end."""
    add_timed_model(tmp_path / "models", base=0.003, row=0.001)
    serve_as_before = servers.LocalServers.serve

    def serve_and_kill(self: servers.LocalServers, configs: Mapping[str, Any]) -> servers.LocalServed:
        served = serve_as_before(self, configs)
        if configs["timed"].instance_group[0].count == 2:
            assert isinstance(served.server, TritonServer)
            os.kill(served.server.pid, signal.SIGKILL)
        return served

    monkeypatch.setattr(servers.LocalServers, "serve", serve_and_kill)
    result = tune(
        TuneOptions(
            repository=tmp_path / "models", runtime="embedded", state=tmp_path / "state", concurrency=4,
            max_batch_size=2, max_instances=2, max_delay_us=0, finalists=1, max_rounds=4, period_seconds=0.1,
        )
    )  # fmt: skip
    assert [each.values["instance_group.count"] for each in result.failed] == [2]
    assert result.winner is None or result.winner.values["instance_group.count"] == 1
