"""`serve run`, as a user runs it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from onnx_models import add_to_repository, doubling_model, tensor_config

_FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
_CONFIG = (
    "max_batch_size: 4 instance_group { count: 1 }\n"
    + tensor_config("input", "x", "FP32", [3])
    + tensor_config("output", "y", "FP32", [3])
)
_BROKEN = _CONFIG.replace('"x"', '"z"')


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    add_to_repository(tmp_path / "models", "good", doubling_model(), _CONFIG)
    return tmp_path / "models"


@contextmanager
def _running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "serve_cli", "run", *map(str, arguments), *_FREE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_json(stream: IO[str] | None) -> dict[str, object]:
    assert stream is not None
    text = ""
    for line in stream:
        text += line
        if line == "}\n":
            break
    return json.loads(text)


def _read_until(stream: IO[str] | None, words: str) -> str:
    assert stream is not None
    for line in stream:
        if words in line:
            return line
    raise AssertionError(f"ended without {words!r}")


def _post(url: str) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="POST")) as answer:
        return answer.status


def test_run_serves_until_ctrl_c_and_then_ends_with_0(repository: Path) -> None:
    """One JSON object once ready; Ctrl-C is how it is meant to end; the bad model is a warning beside the good one."""
    add_to_repository(repository, "bad", doubling_model(), _BROKEN)
    with _running(repository, "--json") as process:
        status = _read_json(process.stdout)
        assert {model["name"]: model["state"] for model in status["models"]} == {"good": "READY", "bad": "UNAVAILABLE"}
        with urllib.request.urlopen(f"{status['http_url']}/v2/models/good/ready") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert output == ""
    assert "warning: bad did not load" in errors
    assert "unexpected inference input 'z'" in errors
    assert not Path(f"/proc/{status['pid']}").exists()


@pytest.mark.parametrize("url", ["http_url", "grpc_url"])
def test_ctrl_c_stops_within_the_time_that_is_said(repository: Path, url: str) -> None:
    """An idle HTTP connection keeps Triton until then, and a long request over gRPC for as long as it takes."""
    _add_sleeping_model(repository)
    with _running(repository, "--json", "-v", "--exit-timeout", "1") as process:
        status = _read_json(process.stdout)
        with _waiting_client(str(status[url]), process.stderr):
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0
    assert "finishing open requests, for at most 1 s; Ctrl-C again stops at once" in errors
    assert "stopped after 1 s, with a client's connection or request still open" in errors


def _add_sleeping_model(repository: Path) -> None:
    (repository / "sleeping" / "1").mkdir(parents=True)
    (repository / "sleeping" / "1" / "model.py").write_text(
        "import time\nclass TritonPythonModel:\n    def execute(self, requests):\n"
        "        print('asleep', flush=True)\n        time.sleep(60)\n"
    )
    (repository / "sleeping" / "config.pbtxt").write_text(_CONFIG.replace("max_batch_size: 4", 'backend: "python"'))


@contextmanager
def _waiting_client(url: str, log: IO[str] | None) -> Iterator[None]:
    """Over HTTP an open connection, over gRPC a request that is not answered."""
    if url.startswith("http"):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in connection.recv(4096)
            yield
        return
    import tritonclient.grpc as triton

    tensor = triton.InferInput("x", [3], "FP32")
    tensor.set_data_from_numpy(np.ones(3, np.float32))
    with triton.InferenceServerClient(url.removeprefix("grpc://")) as client:
        client.async_infer("sleeping", [tensor], callback=lambda result, error: None)
        _read_until(log, "asleep")
        yield


def test_run_warns_of_models_that_the_container_would_refuse(repository: Path) -> None:
    """The embedded ONNX Runtime is newer than a container's; a model too new for the release asked for is named."""
    add_to_repository(repository, "newer", doubling_model(ir_version=10), _CONFIG)
    with _running(repository, "--json", "--triton", "24.01") as process:
        assert {model["state"] for model in _read_json(process.stdout)["models"]} == {"READY"}
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=300)[1]
    assert "warning: newer loads here, but Triton 24.01 (ONNX Runtime 1.16.3) would refuse" in errors
    assert "warning: good" not in errors


def test_run_shows_urls_and_models_and_the_log_with_v(repository: Path) -> None:
    """For a person: where it serves, a table of models, and Triton's log on stderr with -v."""
    with _running(repository, "-v") as process:
        assert "serves on" in _read_until(process.stdout, "serves on")
        assert "http://127.0.0.1:" in _read_until(process.stdout, "HTTP")
        assert "READY" in _read_until(process.stdout, "good")
        assert _read_until(process.stderr, "successfully loaded 'good'")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    assert process.returncode == 0


def test_watch_reloads_by_content(repository: Path, tmp_path: Path) -> None:
    """A changed model is reloaded, a new one loaded, a broken one reported while the old keeps serving."""
    with _running(repository, "--watch", "--json") as process:
        status = _read_json(process.stdout)
        config = repository / "good" / "config.pbtxt"
        config.write_text(config.read_text() + 'parameters { key: "changed" value { string_value: "yes" } }\n')
        assert _read_until(process.stderr, "good") == "good reloaded\n"
        with urllib.request.urlopen(f"{status['http_url']}/v2/models/good/config") as answer:
            assert "changed" in json.load(answer)["parameters"]
        add_to_repository(tmp_path, "new", doubling_model(), _CONFIG)
        shutil.move(tmp_path / "new", repository / "new")
        assert _read_until(process.stderr, "new") == "new loaded\n"
        config.write_text(config.read_text().replace('"x"', '"z"'))
        assert "good not reloaded: " in _read_until(process.stderr, "good")
        with urllib.request.urlopen(f"{status['http_url']}/v2/models/good/ready") as answer:
            assert answer.status == 200
        shutil.rmtree(repository / "new")
        assert _read_until(process.stderr, "new") == "new unloaded\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 0


def test_explicit_loads_only_what_is_named(repository: Path) -> None:
    """Models not named stay out, and can be loaded through Triton's API and then asked."""
    add_to_repository(repository, "other", doubling_model(), _CONFIG)
    with _running(repository, "--explicit", "--model", "good", "--json") as process:
        status = _read_json(process.stdout)
        assert {model["name"]: model["reason"] for model in status["models"]} == {"good": "", "other": "not loaded"}
        assert _post(f"{status['http_url']}/v2/repository/models/other/load") == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 0


def test_run_with_only_broken_models_ends_with_5(serve, tmp_path: Path) -> None:
    """Where nothing can be served, the models and reasons are named."""
    add_to_repository(tmp_path, "bad", doubling_model(), _BROKEN)
    ended = serve("run", tmp_path, *_FREE)
    assert ended.returncode == 5
    assert "bad: " in ended.stderr
    assert "unexpected inference input 'z'" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "nosuch"], 2, "it has: good"),
        (["stray"], 2, "'stray' is not a flag of tritonserver"),
        (["--runtime", "docker"], 5, "docker"),
        (["--", "--no-such-flag"], 5, "no-such-flag"),
    ],
)
def test_run_refuses(serve, repository: Path, arguments: list[str], code: int, message: str) -> None:
    """What cannot be run is one clear error with its exit code."""
    ended = serve("run", repository, *_FREE, *arguments)
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_busy_port_ends_with_5(serve, repository: Path) -> None:
    """A port in use is named, with the option that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ended = serve("run", repository, *_FREE, "--http-port", port)
    assert ended.returncode == 5
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "--http-port" in ended.stderr


def test_missing_repository_ends_with_2(serve, tmp_path: Path) -> None:
    """A folder that is not there is named."""
    ended = serve("run", tmp_path / "nowhere", *_FREE)
    assert ended.returncode == 2
    assert "nowhere is not a folder" in ended.stderr
