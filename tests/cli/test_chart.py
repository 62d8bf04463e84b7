"""`serve chart` as a user runs it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fake_registry import running_registry
from repositories import add_model
from sweeps import TARGET, report

from serve_deploy.repository.model_folder import read_models

Serve = Callable[..., "CompletedProcess[str]"]
TOOLS = Path(__file__).parents[2] / ".tools"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    add_model(tmp_path / "models")
    return tmp_path / "models"


def with_helm() -> dict[str, str]:
    if not (TOOLS / "helm").exists():
        pytest.skip("helm is missing: make tools")
    return os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}


def test_chart_is_written_with_reasons(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """The directory holds a chart, and each number is printed with where it came from."""
    done = serve("chart", repository, "-o", tmp_path / "demo", "--package", env=with_helm())
    assert (done.returncode, done.stderr) == (0, "")
    assert "resources.memory: 1536Mi  # 1 Gi for the server" in done.stdout
    assert "serve loadtest" in done.stdout
    assert (tmp_path / "demo" / "files" / "models" / "digits" / "1" / "model.onnx").is_file()
    assert (tmp_path / "demo-0.1.0.tgz").is_file()


def test_chart_is_pushed(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """The registry holds the packed chart, byte for byte, under its version."""
    with running_registry() as registry:
        address = f"oci://{registry.host}/charts"
        done = serve("chart", repository, "-o", tmp_path / "demo", "--push", address, env=with_helm())
    assert done.returncode == 0, done.stderr
    assert "/v2/charts/demo/manifests/0.1.0" in registry.manifests
    assert (tmp_path / "demo-0.1.0.tgz").read_bytes() in registry.blobs.values()
    assert f"{registry.host}/charts/demo:0.1.0" in done.stdout


def test_dry_run_and_diff_write_nothing(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """Both show what would be and leave the disk as it was."""
    dry = serve("chart", repository, "-o", tmp_path / "demo", "--dry-run", "--json")
    assert json.loads(dry.stdout)["values"]["autoscaling"]["maxReplicas"] == 8
    diff = serve("chart", repository, "-o", tmp_path / "demo", "--diff")
    assert "+  mode: hpa" in diff.stdout
    assert not (tmp_path / "demo").exists()


def test_chart_refuses_what_only_rendering_shows(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """Helm renders the chart before it is put into place: a grace period too short is refused with its arithmetic."""
    setting = "lifecycle.terminationGracePeriodSeconds=5"
    done = serve("chart", repository, "-o", tmp_path / "demo", "--set", setting, env=with_helm())
    assert done.returncode == 2
    assert "lifecycle.terminationGracePeriodSeconds is 5, but" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_capacity_of_the_served_model(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """A sweep of this configuration gives the targets (121 s of cold start: u = 0.712); of another it is refused."""
    (model,) = read_models(repository)
    target = TARGET.model_copy(update={"model_config_sha256": model.config_sha256})
    sweep = report().model_copy(update={"target": target})
    (tmp_path / "sweep.json").write_text(sweep.model_dump_json())
    options = ("--slo", "p99<50ms", "--capacity", tmp_path / "sweep.json", "--dry-run")
    done = serve("chart", repository, *options)
    assert done.returncode == 0, done.stderr
    assert "autoscaling.metrics.concurrency.target: 1.886" in done.stdout
    (repository / "digits" / "config.pbtxt").write_text(
        (repository / "digits" / "config.pbtxt").read_text() + " dynamic_batching { }"
    )
    refused = serve("chart", repository, *options)
    assert refused.returncode == 3
    assert "with another configuration" in refused.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--slo", "throughput>3"), 2, "scaling needs an upper limit for the p99"),
        (("--set", "nonsense"), 2, "--set nonsense is not PATH=VALUE"),
        (("--values", "/nowhere.yaml"), 2, "--values /nowhere.yaml"),
        (("--push", "https://registry"), 2, "helm pushes to OCI registries"),
        (("--min", "5", "--max", "2"), 2, "min replicas 5 (--min) exceeds max replicas 2 (--max)"),
    ],
)
def test_wrong_options(
    serve: Serve, repository: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    """Each is one line and leaves nothing behind."""
    done = serve("chart", repository, "-o", tmp_path / "demo", *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "demo").exists()


def test_the_next_command_can_be_pasted(serve: Serve, repository: Path, tmp_path: Path) -> None:
    """A folder whose name a shell would take apart is quoted."""
    done = serve("chart", repository, "-o", "it's a chart", "--name", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout.splitlines()[-1])
    assert words[:4] == ["next:", "serve", "deploy", "it's a chart"]
