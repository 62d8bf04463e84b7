"""The rules on configurations, held against a real Triton: what it refuses is named, and what it serves is not."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from broken_configs import BROKEN, MISMATCHED, BrokenConfig
from broken_ensembles import ENSEMBLES, add_case, add_members
from broken_scheduling import CORE
from valid_configs import VALID

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import CheckedModel, check_repository
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import EndpointError
from serve_deploy.triton import TritonServer
from serve_deploy.triton.log import read_models

ALL_BROKEN = (*BROKEN, *MISMATCHED, *CORE, *ENSEMBLES)
# On a busy machine the servers take minutes.
pytestmark = pytest.mark.timeout(1200)

LOCAL = [case for case in ALL_BROKEN if case.here]
_SERVERS = 3
_ATTEMPTS = 6
_LOAD_SECONDS = 300.0
MEMBERS = {"well", "wide", "two", "stream", "other_stream", "two_versions"}


def write_repository(repository: Path, cases: Sequence[BrokenConfig]) -> Path:
    add_members(repository)
    for case in cases:
        add_case(repository, case)
    return repository


def check(repository: Path) -> dict[str, CheckedModel]:
    return {model.name: model for model in check_repository(CheckOptions(repository=repository, load=False)).models}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("broken"), LOCAL)


@pytest.fixture(scope="module")
def refusals(triton_server, broken: Path) -> dict[str, str]:
    """What Triton says of each model that it does not load; READY where it does.

    One after the other, on several servers. Triton 2.51 crashes now and then where it refuses a model, above all for an
    initial state or a warm-up: then the model is tried on another server.
    """
    names = sorted(path.name for path in broken.iterdir())
    alone = [case.name for case in LOCAL if "ensemble" not in case.backend]
    shares = [sorted({*names} - {*alone}), *(alone[start::_SERVERS] for start in range(_SERVERS))]

    def load(share: list[str]) -> dict[str, str]:
        said: dict[str, str] = {}
        for _attempt in range(_ATTEMPTS):
            if len(said) == len(share):
                break
            server = triton_server(broken, auto_complete=False, explicit=True)
            Thread(target=_clear_after, args=(server,), daemon=True).start()
            with suppress(EndpointError):
                for name in [name for name in share if name not in said]:
                    said[name] = _load(server, name)
        return said

    with ThreadPoolExecutor() as threads:
        return {name: reason for said in threads.map(load, shares) for name, reason in said.items()}


def _clear_after(server: TritonServer) -> None:
    """A crashed server's models hold its port open, and nobody answers: they end with it."""
    group, handle = os.getpgid(server.pid), os.pidfd_open(server.pid)
    select.select([handle], [], [])
    os.close(handle)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _load(server: TritonServer, name: str) -> str:
    try:
        with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=_LOAD_SECONDS) as control:
            control.load_model(name)
    except RefusedError as error:
        if "failed to poll" in error.reason:
            return read_models(server.log_text())[name].reason
        reason = error.reason.partition("load failed for model ")[2].partition(": ")[2] or error.reason
        return reason.removeprefix("version 1 is at UNAVAILABLE state: ").splitlines()[0].rstrip(";")
    return "READY"


def test_triton_refuses_every_configuration_of_the_tables(refusals: dict[str, str]) -> None:
    """Well over ninety, and their members load: nothing else is wrong with the repository."""
    ready = {name for name, reason in refusals.items() if reason == "READY"}
    assert ready == MEMBERS
    assert len(refusals) - len(MEMBERS) == len(LOCAL) > 90


def test_the_cause_is_named_without_loading(
    broken: Path, refusals: dict[str, str], golden: Callable[[str, str], None]
) -> None:
    """At the field of the mistake; beside it in the golden file stands why Triton refuses."""
    checked = check(broken)
    unnamed = [case.name for case in LOCAL if case.field not in {p.field for p in checked[case.name].problems}]
    assert unnamed == []
    assert {name for name in MEMBERS if checked[name].problems} == set()
    lines = []
    for case in LOCAL:
        lines.append(
            f"{case.name}\n  Triton: {refusals[case.name].replace(str(broken), 'models') or 'does not list it'}\n"
        )
        lines += [f"  {p.field}: {p.message}\n    fix: {p.fix}\n" for p in checked[case.name].problems]
    golden("check/refusals.txt", "".join(lines))


def test_what_triton_serves_has_no_problem(triton_server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No false alarm: every valid configuration loads, and `check` finds nothing wrong with it."""
    repository = write_repository(tmp_path_factory.mktemp("valid"), VALID)
    alarms = {name: model.problems for name, model in check(repository).items() if model.problems}
    assert alarms == {}
    # Two at a time: on a busy machine, more of them keep each other from starting.
    server = triton_server(repository, auto_complete=False, extra_arguments=("--model-load-thread-count=2",))
    states = server.model_states()
    assert {state.name for state in states if state.state == "READY"} == {case.name for case in VALID} | MEMBERS
    assert len(VALID) > 40
