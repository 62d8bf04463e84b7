"""Thirty models in one repository, served at once; listed, loaded and unloaded while they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from changed_models import config, ensemble, model
from onnx_models import add_to_repository, doubling_model
from written_models import write_files

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.live_models.models import read_models, watch_models
from serve_deploy.live_models.options import ModelsOptions
from serve_deploy.live_models.served import ServedModels, list_changes
from serve_deploy.loadtest import MixOptions, PoissonRate, run_mixed_loadtest, split_load
from serve_deploy.repository_changes.comparison import compare_repositories
from serve_deploy.repository_changes.options import DiffOptions
from serve_deploy.triton import ServerOptions, TritonServer, start_server

NAMES = (*tuple(f"onnx_{number:02}" for number in range(26)), "python_a", "python_b", "ensemble_a", "ensemble_b")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 ONNX models of different sizes and types, batching or not, two Python models, two ensembles."""
    repository = tmp_path_factory.mktemp("thirty") / "models"
    for number, name in enumerate(NAMES[:26]):
        kind = onnx.TensorProto.INT64 if number % 3 == 0 else onnx.TensorProto.FLOAT
        batching = "max_batch_size: 8\ndynamic_batching {}\n" if number % 2 else ""
        # Without `input` and `output`, the backend completes the configuration.
        config = f"{batching}instance_group {{ count: 1 }}\n"
        add_to_repository(repository, name, doubling_model(("batch", number + 1), kind), config)
    for name in NAMES[26:28]:
        write_files(repository / name, model())
    write_files(repository / "ensemble_a", {"config.pbtxt": ensemble("python_a"), "1/": ""})
    above = ensemble("ensemble_a", member_output="b").replace('key: "x"', 'key: "a"')
    write_files(repository / "ensemble_b", {"config.pbtxt": above, "1/": ""})
    return repository


@pytest.fixture(scope="module")
def thirty(triton_server: Callable[..., TritonServer], repository: Path) -> TritonServer:
    """A server that has loaded all of them."""
    return triton_server(repository, explicit=True, models=("*",))


@pytest.fixture(scope="module")
def loaded(thirty: TritonServer) -> Any:
    """The report of a load that all thirty share for two seconds."""
    options = MixOptions(
        endpoint=parse_endpoint(thirty.http_url), models=NAMES, loads=(PoissonRate(150),), duration_seconds=2,
        warmup_seconds=0.5, timeout_seconds=60,
    )  # fmt: skip
    return run_mixed_loadtest(split_load(options))


def ask(server: TritonServer, **options: Any) -> ServedModels:
    return read_models(ModelsOptions(endpoint=parse_endpoint(server.http_url), **options))


def test_all_are_served_under_load_without_an_error(loaded: Any) -> None:
    """Every model answers every request that it is sent."""
    assert [named.name for named in loaded.reports] == [*NAMES, "all models"]
    counts = [(named.report.points[0].sent, named.report.points[0].succeeded) for named in loaded.reports]
    assert all(sent == succeeded for sent, succeeded in counts)
    assert counts[-1][0] == sum(sent for sent, _ in counts[:-1]) > 200


def test_start_and_memory_are_reported(thirty: TritonServer) -> None:
    """`serve run` says how long all thirty took to load, and what memory they take together."""
    status = thirty.status()
    assert [state.name for state in status.models if state.state == "READY"] == sorted(NAMES)
    assert status.startup_seconds > 0
    assert status.memory_bytes > 100 << 20


def test_each_has_its_figures(thirty: TritonServer, loaded: Any) -> None:
    """Requests as the load test counted them, and the memory of the processes that run each model."""
    found = ask(thirty)
    sent = {named.name: named.report.points[0].server[0].requests for named in loaded.reports[:-1]}
    versions = {each.model: each for each in found.versions}
    assert all(versions[name].requests >= sent[name] for name in NAMES)
    assert {name for name in NAMES if not versions[name].memory_bytes} == {"ensemble_a", "ensemble_b"}
    assert (found.server_memory_bytes or 0) > sum(each.memory_bytes or 0 for each in found.versions)


def test_figures_are_the_same_over_grpc(thirty: TritonServer, loaded: Any) -> None:
    """Both protocols say the same."""
    http = ask(thirty).versions
    grpc = read_models(ModelsOptions(endpoint=parse_endpoint(thirty.grpc_url))).versions
    assert [replace(each, memory_bytes=None) for each in http] == [replace(each, memory_bytes=None) for each in grpc]


def test_member_of_ensembles_is_not_unloaded_by_the_way(thirty: TritonServer) -> None:
    """Unloading it would take down the ensembles above, which are named."""
    with pytest.raises(UsageError, match="unloading python_a takes down ensemble_a, ensemble_b"):
        ask(thirty, unload=("python_a",))
    planned = ask(thirty, unload=("python_a",), dry_run=True)
    assert planned.done == ("would unload python_a, which takes down ensemble_a, ensemble_b",)
    assert {each.state for each in planned.versions} == {"READY"}


def test_unload_takes_down_what_was_said_and_load_brings_it_back(thirty: TritonServer) -> None:
    """With `force`, exactly the ensembles that were named go; loading the topmost one loads all below."""
    gone = ask(thirty, unload=("python_a",), force=True)
    assert {each.model for each in gone.versions if each.state != "READY"} == {"python_a", "ensemble_a", "ensemble_b"}
    back = ask(thirty, load=("ensemble_b",))
    assert {each.state for each in back.versions} == {"READY"}


def test_unknown_model_is_refused(thirty: TritonServer) -> None:
    """Before anything is asked for."""
    with pytest.raises(UsageError, match="knows no model 'nothing'"):
        ask(thirty, load=("nothing",))


def test_diff_against_the_running_server(thirty: TritonServer, repository: Path, tmp_path: Path) -> None:
    """What it serves breaks nobody; a model that is gone and one with other tensors do."""
    same = compare_repositories(DiffOptions(old=thirty.http_url, new=repository))
    assert (same.changed, same.breaking) == ((), ())
    shutil.copytree(repository, tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "onnx_04")
    write_files(tmp_path / "models" / "python_b", {"config.pbtxt": config(outputs="y FP64 [3]")})
    changes = compare_repositories(DiffOptions(old=thirty.grpc_url, new=tmp_path / "models"))
    assert [(each.name, each.action) for each in changes.breaking] == [("onnx_04", "unload"), ("python_b", "unknown")]


def test_command_shows_them(thirty: TritonServer, serve: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A line for each model and one of the server; --json is the result object."""
    text = serve("models", thirty.http_url, env=os.environ | {"COLUMNS": "160"}).stdout
    assert [line.split()[0] for line in text.splitlines() if "READY" in line] == sorted(NAMES)
    assert f"Triton 2.51.0 at {thirty.http_url}; it takes " in text
    document = json.loads(serve("models", thirty.http_url, "--json").stdout)
    assert len(document["versions"]) == 30


def test_watch_tells_changes_and_survives_a_restart(tmp_path: Path) -> None:
    """A server that is stopped is said not to answer; it is seen again when it is back, on the same ports."""
    write_files(tmp_path / "models" / "anchor", model())
    options = ServerOptions(repository=tmp_path / "models", runtime="embedded", explicit=True, models=("anchor",))
    server = start_server(options)
    endpoint = parse_endpoint(server.http_url)
    ports = {"http_port": endpoint.port, "grpc_port": parse_endpoint(server.grpc_url).port}
    looks = watch_models(ModelsOptions(endpoint=endpoint), sleep=lambda _seconds: None)
    try:
        first = next(looks)
        server.stop(drain=False)
        away = next(looks)
        server = start_server(replace(options, **ports))
        back = next(looks)
    finally:
        server.stop(drain=False)
    assert [first.is_reachable, away.is_reachable, back.is_reachable] == [True, False, True]
    assert list(list_changes(away, back)) == [f"{endpoint.url} answers again", "anchor version 1: READY"]


def test_other_modes_say_plainly_that_they_do_not_load(
    triton_server: Callable[..., TritonServer], tmp_path: Path
) -> None:
    """The reason and the flag that allows it, in place of Triton's sentence about polling."""
    write_files(tmp_path / "models" / "anchor", model())
    server = triton_server(tmp_path / "models")
    for dry_run in (False, True):
        with pytest.raises(EndpointError, match="does not load models when asked") as refusal:
            ask(server, load=("anchor",), dry_run=dry_run)
        assert "--model-control-mode=explicit" in (refusal.value.hint or "")
