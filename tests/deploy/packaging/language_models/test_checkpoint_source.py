"""Where config.json comes from: the real client of the hub asks a server that answers like one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from checkpoints import config_file
from web_server import served

Serve = Callable[..., subprocess.CompletedProcess[str]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(BaseHTTPRequestHandler):
    """The hub's answers to downloads, by repository."""

    files: ClassVar[dict[str, bytes]] = {
        "/maker/open/resolve/main/config.json": config_file("qwen2.5-7b").read_bytes(),
        "/maker/open/resolve/main/model.safetensors.index.json": json.dumps(
            {"metadata": {"total_size": 15_231_233_024}, "weight_map": {"lm_head.weight": "model-1-of-4.safetensors"}}
        ).encode(),
    }

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        content = self.files.get(self.path)
        repository = self.path.split("/")[2]
        codes = {"gated": (403, "GatedRepo"), "gone": (404, "RepoNotFound"), "open": (404, "EntryNotFound")}
        status, code = (200, "") if content is not None else codes.get(repository, (404, "EntryNotFound"))
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{abs(hash(self.path)):040x}"')
        self.send_header("Content-Length", str(len(content or b"")))
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        self.end_headers()
        if body and content:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a command that asks this hub."""
    with served(ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)) as server:
        yield {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hub")}


def test_a_models_configuration_comes_from_the_hub(serve: Serve, hub: dict[str, str], tmp_path: Path) -> None:
    """With the total that its index says; the weights themselves are not downloaded."""
    done = serve("package", "maker/open", "--backend", "vllm", "--json", "--dry-run", env=hub, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["packaged"][0]["manifest"]["language_model"]
    assert (model["weights_bytes"], model["weights_are_measured"]) == (15_231_233_024, True)
    assert model["weights"] == "maker/open"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("maker/gated", 6, "keeps maker/gated for those who accepted its terms"),
        ("maker/gone", 6, "the hub has no model maker/gone"),
        ("maker/empty", 3, "maker/empty has no config.json on the hub"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_line(
    serve: Serve, hub: dict[str, str], tmp_path: Path, name: str, code: int, words: str
) -> None:
    """And what to do instead."""
    done = serve("package", name, "--backend", "vllm", env=hub, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert "--model-config" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_client_the_hub_is_not_asked(serve: Serve, tmp_path: Path) -> None:
    """The error says what to install, and what to give instead."""
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('no')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = serve("package", "maker/open", "--backend", "vllm", env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "huggingface_hub, which would ask the hub, is not installed" in done.stderr
    assert "--model-config" in done.stderr


@pytest.mark.parametrize("source", ["/nowhere/model", "./nowhere", "a/b/c"])
def test_what_is_neither_a_folder_nor_an_id_is_refused(serve: Serve, tmp_path: Path, source: str) -> None:
    """Without asking anybody."""
    done = serve("package", source, "--backend", "vllm", cwd=tmp_path)
    assert (done.returncode, "is not a checkpoint's folder" in done.stderr) == (2, True)
