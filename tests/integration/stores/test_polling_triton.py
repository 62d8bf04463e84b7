"""A real Triton that polls a folder never fails a load, whatever is pushed there."""

from __future__ import annotations

import json
import os
import random
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from changing_repository import REVISION, ChangingRepository
from pushing import push

from serve_deploy.repository.model_folder import read_models
from serve_deploy.stores.address import StoreAddress
from serve_deploy.triton import TritonServer

PUSHES = int(os.environ.get("SERVE_STORE_ROUNDS", "6"))
SEED = 13
# Triton's log of what goes wrong; that there is no GPU is no fault of a push.
COMPLAINT = re.compile(r"^(?!.*Cuda)E\d{4} |[Ff]ailed to (load|poll)|model\d+.*(fail|error|unable)")


@pytest.mark.timeout(1800)
def test_a_polling_triton_never_fails_a_load(triton_server: Callable[..., TritonServer], tmp_path: Path) -> None:
    """New versions, changed configurations and new models at any moment; what goes, goes once the rest is loaded."""
    repository, moments = ChangingRepository(tmp_path / "models", SEED), random.Random(SEED)
    served, changes = tmp_path / "served", []
    store = StoreAddress("local", str(served))
    push(repository.folder, store, fixed=True)
    server = triton_server(served, extra_arguments=("--model-control-mode=poll", "--repository-poll-secs=1"))
    for _number in range(PUSHES):
        time.sleep(moments.uniform(0.0, 1.5))
        changes.append(repository.change())
        if changes[-1].startswith("remove"):
            wait_until_served(server, served)
        push(repository.folder, store, fixed=True, delete=changes[-1].startswith("remove"))
    wait_until_served(server, served)
    assert [line for line in server.log_text().splitlines() if COMPLAINT.search(line)] == [], changes
    server.stop(drain=False)


def wait_until_served(server: TritonServer, folder: Path) -> None:
    """Wait until the server serves what is in the folder, by its configurations, and nothing else."""
    models = read_models(folder)
    versions = {(model.name, str(version)) for model in models for version in model.served_versions}
    revisions = {model.name: model.config.parameters[REVISION].string_value for model in models}
    end = time.monotonic() + 300
    while True:
        ready = {(state.name, str(state.version)) for state in server.model_states() if state.state == "READY"}
        if ready == versions and all(read_revision(server, name) == revisions[name] for name in revisions):
            return
        assert time.monotonic() < end, (ready, versions)
        time.sleep(0.1)


def read_revision(server: TritonServer, model: str) -> str:
    """What the configuration that counts calls itself."""
    with urllib.request.urlopen(f"{server.http_url}/v2/models/{model}/config", timeout=120) as answer:
        return str(json.load(answer)["parameters"][REVISION]["string_value"])
