"""`serve package --backend vllm` as a user sees it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import config_file

Serve = Callable[..., subprocess.CompletedProcess[str]]
Golden = Callable[[str, str], None]


def package(serve: Serve, folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "240"}
    return serve("package", f"maker/{name}", "--model-config", config_file(name), *options, cwd=folder, env=environment)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama-3.1-8b", ("--backend", "vllm", "--gpu-profile", "l4")),
        ("deepseek-v3", ("--backend", "tensorrtllm", "--gpu-profile", "h100", "-v")),
    ],
)
def test_each_line_has_its_reason(
    serve: Serve, golden: Golden, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    """The facts, the engine's arguments, and what each GPU would hold."""
    done = package(serve, tmp_path, name, *options)
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    golden(f"package/{name}.txt", "".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("deepseek-v3", ("--gpu-profile", "l4", "--pipeline-parallel", "1"), 3, "--gpu-profile h200"),
        (
            "qwen2.5-7b",
            ("--gpu-profile", "h100", "--tensor-parallel", "8"),
            2,
            "--tensor-parallel 8: 28 attention heads",
        ),
        ("qwen2.5-7b", ("--gpu-profile", "t4"), 3, "--dtype float16"),
        ("qwen2.5-7b", ("--engine-arg", "max_model_len=8"), 2, "use --max-model-len"),
        ("qwen2.5-7b", ("--llmapi", "folder"), 2, "--llmapi is for --backend tensorrtllm"),
        ("qwen2.5-7b", ("--gpu-profile", "v100"), 2, "unknown GPU profile 'v100'"),
    ],
)
def test_refusals_name_flags(
    serve: Serve, tmp_path: Path, name: str, options: tuple[str, ...], code: int, words: str
) -> None:
    """And end with the exit code of their kind, with nothing written."""
    done = package(serve, tmp_path, name, "--backend", "vllm", *options)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_has_what_the_tables_have(serve: Serve, tmp_path: Path) -> None:
    """By stable names, with units in them."""
    done = package(serve, tmp_path, "llama-3.1-8b", "--backend", "vllm", "--gpu-profile", "h100", "--json", "--dry-run")
    model = json.loads(done.stdout)["packaged"][0]["manifest"]["language_model"]
    assert (model["weights_bytes"], model["cache_bytes_per_token"], model["gpu"]) == (16_060_522_496, 131_072, "h100")
    assert {fit["gpu"] for fit in model["fits"] if not fit["fits"]} == {"t4"}


def test_check_does_not_say_that_it_loaded_what_it_could_not_try(serve: Serve, tmp_path: Path) -> None:
    """The engine is not on this machine."""
    assert package(serve, tmp_path, "llama-3.1-8b", "--backend", "vllm").returncode == 0
    done = serve("check", tmp_path / "models")
    assert "not tried" in done.stdout
    assert "no model was loaded in Triton" in done.stdout
