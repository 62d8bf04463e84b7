"""A real Triton that polls a folder never fails a load, whatever is pushed there."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from changing_repository import ChangingRepository
from pushing import push

from serve_deploy.repository.model_folder import read_models
from serve_deploy.stores.address import StoreAddress
from serve_deploy.triton import TritonServer

PUSHES = int(os.environ.get("SERVE_STORE_ROUNDS", "10"))
SEED = 13
# Triton's log of what goes wrong; that there is no GPU is no fault of a push.
COMPLAINT = re.compile(r"^(?!.*Cuda)E\d{4} |[Ff]ailed to (load|poll)|model\d+.*(fail|error|unable)")


def test_a_polling_triton_never_fails_a_load(triton_server: Callable[..., TritonServer], tmp_path: Path) -> None:
    """New versions, changed configurations, models that come and go, pushed at any moment between its polls."""
    repository, moments = ChangingRepository(tmp_path / "models", SEED), random.Random(SEED)
    store = StoreAddress("local", str(tmp_path / "served"))
    push(repository.folder, store, fixed=True)
    server = triton_server(
        tmp_path / "served", extra_arguments=("--model-control-mode=poll", "--repository-poll-secs=1")
    )
    changes = []
    for _number in range(PUSHES):
        time.sleep(moments.uniform(0.0, 1.5))
        changes.append(repository.change())
        push(repository.folder, store, fixed=True, delete=True)
    wait_until_served(server, repository.folder)
    assert [line for line in server.log_text().splitlines() if COMPLAINT.search(line)] == [], changes
    server.stop(drain=False)


def wait_until_served(server: TritonServer, repository: Path) -> None:
    """Wait until the server serves what the repository says, and nothing else."""
    wanted = {(model.name, str(version)) for model in read_models(repository) for version in model.served_versions}
    end = time.monotonic() + 60
    while True:
        served = {(state.name, str(state.version)) for state in server.model_states() if state.state == "READY"}
        if served == wanted:
            return
        assert time.monotonic() < end, (served, wanted)
        time.sleep(0.1)
