"""Paths, names and limits with which Triton's Python backend hangs when it is left to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx_models import add_to_repository, doubling_model, tensor_config

from serve_deploy.errors import InvalidModelError, TritonStartError
from serve_deploy.triton import ServerOptions, start_server

_CONFIG = (
    "max_batch_size: 4 instance_group { count: 1 }\n"
    + tensor_config("input", "x", "FP32", [3])
    + tensor_config("output", "y", "FP32", [3])
)
_PYTHON_CONFIG = _CONFIG.replace("max_batch_size: 4", 'max_batch_size: 0 backend: "python"')
_DIES_UNNOTICED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
_FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


def test_repository_and_tmpdir_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces, quotes, shell characters and non-ASCII, in both; and errors show the path that the user knows."""
    repository = tmp_path / "it's my $(touch x) & ü" / "models"
    add_to_repository(repository, "good", doubling_model(), _CONFIG)
    add_to_repository(repository, "größe", doubling_model(), _CONFIG)
    (repository / "lost" / "1").mkdir(parents=True)
    (repository / "lost" / "config.pbtxt").write_text('backend: "onnxruntime"\n' + _CONFIG)
    temporary = tmp_path / "t m p'"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with start_server(ServerOptions(repository=repository, runtime="embedded", auto_complete=False)) as server:
        states = {state.name: state for state in server.model_states()}
    assert (states["good"].state, states["größe"].state) == ("READY", "READY")
    assert str(repository / "lost" / "1") in states["lost"].reason
    assert not Path("x").exists()


def test_modules_in_the_working_directory_do_not_stand_in_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own random.py is not what numpy means."""
    add_to_repository(tmp_path / "models", "good", doubling_model(), _CONFIG)
    (tmp_path / "random.py").write_text("raise ImportError('not this one')\n")
    monkeypatch.chdir(tmp_path)
    with start_server(ServerOptions(repository=tmp_path / "models", runtime="embedded")) as server:
        assert [(state.state, state.reason) for state in server.model_states()] == [("READY", "")]


@pytest.mark.parametrize("name", ["my model", "it's", "a;b", "a$b", "a(b", "a*"])
def test_a_name_that_crashes_the_backend_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """With a name to take instead."""
    add_to_repository(tmp_path, name, doubling_model(), _CONFIG)
    with pytest.raises(InvalidModelError, match="Python backend cannot serve a model with") as refused:
        start_server(ServerOptions(repository=tmp_path, runtime="embedded"))
    assert "rename its folder" in str(refused.value.hint)


def test_check_names_the_model_and_checks_the_others(serve, tmp_path: Path) -> None:
    """One bad name does not hide what the rest is worth."""
    add_to_repository(tmp_path, "my model", doubling_model(), _CONFIG)
    add_to_repository(tmp_path, "good", doubling_model(), _CONFIG)
    ended = serve("check", tmp_path)
    assert ended.returncode == 3
    assert "1 of 2 models failed" in ended.stderr
    assert "rename the folder, for example to my_model" in ended.stdout


def test_a_model_that_dies_unnoticed_ends_the_start(tmp_path: Path) -> None:
    """Triton itself would wait for its process without end."""
    folder = tmp_path / "dying"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(_DIES_UNNOTICED)
    (folder / "config.pbtxt").write_text(_PYTHON_CONFIG)
    with pytest.raises(TritonStartError, match="process crashed while Triton loaded dying"):
        start_server(ServerOptions(repository=tmp_path, runtime="embedded"))


@pytest.mark.parametrize(("limit", "message"), [("-n 64", "64 open files"), ("-v 800000", "800,000 KiB")])
def test_a_limit_with_which_triton_would_hang_is_named(tmp_path: Path, limit: str, message: str) -> None:
    """Before Triton is started, with the command that raises it."""
    add_to_repository(tmp_path, "good", doubling_model(), _CONFIG)
    command = f'ulimit {limit} && exec "$0" -m serve_cli run "$1" {" ".join(_FREE)}'
    ended = subprocess.run(
        ["/bin/bash", "-c", command, sys.executable, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 5
    assert f"ulimit {limit[:2]} allows {message}" in ended.stderr
    assert f"ulimit {limit[:2]} " in ended.stderr.partition("hint: ")[2]
