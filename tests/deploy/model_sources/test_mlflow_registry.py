"""Models of an MLflow registry: mlflow's own client, and a registry in a folder, which it serves itself."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from mlflow_models import write_onnx_model, write_sklearn_model

from serve_deploy.errors import EndpointError, InvalidModelError
from serve_deploy.model_sources.addresses import RegistryAddress, RunAddress, parse_source
from serve_deploy.model_sources.fetching import fetched
from serve_deploy.progress import silent

Serve = Callable[..., subprocess.CompletedProcess[str]]


def test_without_its_client_mlflow_is_not_asked(serve: Serve, tmp_path: Path) -> None:
    """The error says what to install."""
    (tmp_path / "mlflow.py").write_text("raise ImportError('no mlflow here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = serve("package", "models:/digits/1", env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "models:/digits/1 is a model of MLflow, whose client is not installed" in done.stderr
    assert "install it with" in done.stderr


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry with models of several kinds."""
    import mlflow
    from mlflow import MlflowClient

    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path_factory.mktemp("registry")
    address = (folder / "mlruns").as_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(address)
        client = MlflowClient()
        for name in ("linear", "forest", "broken"):
            client.create_registered_model(name)
        linear = write_onnx_model(folder / "linear")
        for _ in range(3):
            client.create_model_version("linear", linear.as_uri())
        client.set_registered_model_alias("linear", "champion", "2")
        client.transition_model_version_stage("linear", "1", "Production")
        client.create_model_version("forest", write_sklearn_model(folder / "forest").as_uri())
        run = client.create_run(client.create_experiment("training"))
        client.log_artifacts(run.info.run_id, str(linear), "trained/linear")
        (folder / "broken").mkdir()
        client.create_model_version("broken", (folder / "broken").as_uri())
        (folder / "run_id").write_text(run.info.run_id)
    yield address
    patch.undo()


def fetch(text: str) -> tuple[bytes, dict[str, str]]:
    """The model's file and its origin."""
    address = parse_source(text)
    assert isinstance(address, RegistryAddress | RunAddress)
    with fetched(address, silent) as found:
        return found.path.read_bytes(), asdict(found.origin)


@pytest.mark.parametrize(
    ("selector", "version"),
    [("/1", "1"), ("@champion", "2"), ("/latest", "3"), ("/Production", "1"), ("/production", "1")],
)
def test_a_version_is_found_and_pinned(registry: str, selector: str, version: str) -> None:
    """By its number, an alias, a stage, or as the newest; the run that made it is told."""
    content, origin = fetch(f"models:/linear{selector}")
    assert b"linear" in content
    assert origin == {
        "asked": f"models:/linear{selector}", "pinned": f"models:/linear/{version}", "version": version,
        "run_id": "b3153221c63342bbad1af12919617f25",
    }  # fmt: skip


def test_a_runs_model_is_found_by_its_path(registry: str) -> None:
    """What was logged and never registered."""
    run_id = Path(url2pathname(urlsplit(registry).path)).parent.joinpath("run_id").read_text()
    content, origin = fetch(f"runs:/{run_id}/trained/linear")
    assert b"linear" in content
    assert (origin["pinned"], origin["run_id"]) == (f"runs:/{run_id}/trained/linear", run_id)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("models:/linear/9", "models:/linear/9: there is no such version", "3, 2, 1 (Production), @champion (2)"),
        ("models:/linear@nope", "models:/linear@nope: there is no such alias", "@champion (2)"),
        ("models:/linear/Staging", "models:/linear/Staging: there is no such stage", "1 (Production)"),
        ("models:/nope/1", "has no model 'nope'", "MLFLOW_TRACKING_URI"),
        ("runs:/0123456789abcdef0123456789abcdef/model", "has no such model", "check the name"),
    ],
)  # fmt: skip
def test_what_the_registry_has_not_is_said_with_what_it_has(registry: str, text: str, words: str, hint: str) -> None:
    """In a line."""
    with pytest.raises(EndpointError, match=words) as caught:
        fetch(text)
    assert hint in str(caught.value.hint)


def test_a_version_without_description_is_refused(registry: str) -> None:
    """Something else was registered there."""
    with pytest.raises(InvalidModelError, match="models:/broken/1 has no file MLmodel"):
        fetch("models:/broken/1")


def test_a_version_of_pickles_is_refused_without_loading_them(registry: str) -> None:
    """With what to write to load it."""
    with pytest.raises(InvalidModelError, match="it is a model of sklearn"):
        fetch("models:/forest/1")


def test_a_registry_that_cannot_be_reached_is_said_without_its_password(registry: str) -> None:
    """Within seconds, not in the minutes that its client waits by itself."""
    import mlflow

    mlflow.set_tracking_uri("http://user:planted@127.0.0.1:9")
    try:
        with pytest.raises(
            EndpointError, match=r"the MLflow registry http://127\.0\.0\.1:9 cannot be reached"
        ) as caught:
            fetch("models:/linear/1")
    finally:
        mlflow.set_tracking_uri(registry)
    assert "planted" not in f"{caught.value.message} {caught.value.hint}"


def test_a_registered_model_is_packaged_with_its_example_and_origin(
    registry: str, serve: Serve, tmp_path: Path
) -> None:
    """Under its name in the registry, with the samples that it was logged with."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry}
    done = serve("package", "models:/linear@champion", "--no-verify", "--json", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    packaged = json.loads(done.stdout)["packaged"][0]
    assert (packaged["name"], packaged["manifest"]["samples"]) == ("linear", 3)
    assert packaged["manifest"]["origin"]["pinned"] == "models:/linear/2"
