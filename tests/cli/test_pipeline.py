"""`serve pipeline`: what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx_models import doubling_model

Serve = Callable[..., subprocess.CompletedProcess[str]]
_FILE = """
name: four_times
steps:
  first: {model: double.onnx}
  second: {model: double.onnx}
outputs: {x4: second.y}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(doubling_model(), tmp_path / "double.onnx")
    (tmp_path / "pipeline.yaml").write_text(_FILE)
    return tmp_path


def test_a_pipeline_is_reported_by_its_steps(folder: Path, serve: Serve, golden: Callable[[str, str], None]) -> None:
    """With its tensors, and that it was not verified."""
    done = serve("pipeline", "pipeline.yaml", "--no-verify", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    golden("pipelines/report.txt", done.stdout)


def test_json_has_the_same_result(folder: Path, serve: Serve) -> None:
    """By stable keys."""
    done = serve("pipeline", "pipeline.yaml", "--no-verify", "--json", "-o", "served", "--name", "quad", cwd=folder)
    result = json.loads(done.stdout)
    assert (result["name"], result["folder"], result["not_verified"]) == ("quad", "served/quad", "`verify=False`")
    assert [member["model"] for member in result["members"]] == ["quad_first", "quad_second"]
    assert result["wires"] == [["x", "first.x"], ["first.y", "second.x"]]


def test_a_dry_run_prints_the_configuration(folder: Path, serve: Serve) -> None:
    """And writes nothing."""
    done = serve("pipeline", "pipeline.yaml", "--dry-run", cwd=folder)
    assert done.stdout.startswith('name: "four_times"\nplatform: "ensemble"\n')
    assert not (folder / "models").exists()


def test_a_wrong_pipeline_ends_with_what_is_wrong(folder: Path, serve: Serve) -> None:
    """Exit code 3, one error and one hint."""
    wrong = _FILE.replace("second: {model: double.onnx}", "second: {model: double.onnx, inputs: {x: first.z}}")
    (folder / "pipeline.yaml").write_text(wrong)
    done = serve("pipeline", "pipeline.yaml", cwd=folder)
    assert done.returncode == 3
    assert done.stderr == (
        "error: pipeline.yaml: steps.second.inputs.x: the step 'first' (double.onnx) returns no 'z', which 'first.z' "
        "names\nhint: it returns: y\n"
    )
