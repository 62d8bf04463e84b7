"""The examples of load tests in CI do what they promise, on a real Triton."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as xml

import yaml
from pushgateway import free_port

from serve_deploy.reports.report import LoadTestReport

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "ci"


def test_the_pytest_example_of_the_document_is_the_file() -> None:
    """What docs/ci.md shows is examples/ci/test_load.py."""
    assert f"```python\n{(EXAMPLES / 'test_load.py').read_text()}```\n" in (ROOT / "docs" / "ci.md").read_text()


def test_the_pytest_example_passes() -> None:
    """The example packages a model, starts Triton and holds its objectives."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/ci/test_load.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_workflow_packages_serves_measures_and_summarises(tmp_path: Path) -> None:
    """The workflow's own commands, but for installing and commenting, run one after the other as a CI would."""
    workflow = yaml.safe_load((EXAMPLES / "loadtest.yml").read_text())
    steps = {
        step["name"]: step["run"] for step in workflow["jobs"]["loadtest"]["steps"] if {"name", "run"} <= set(step)
    }
    assert list(steps) == [
        "Install", "Package", "Start Triton", "Load-test", "Summarise", "Comment", "Make it the new baseline",
    ]  # fmt: skip
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "serve").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m serve_cli "$@"\n')
    (bin_folder / "serve").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HTTP_PORT": str(free_port()),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    wanted = ("Package", "Start Triton", "Load-test", "Summarise", "Make it the new baseline")
    script = "set -eo pipefail\n" + "\n".join(steps[name] for name in wanted)
    assert "--duration 5 --repeat 5" in script
    script = script.replace("--duration 5 --repeat 5", "--duration 1 --repeat 2")
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        process.wait(timeout=150)
    finally:
        # As when a CI job ends: what it left running, Triton, goes with it.
        os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 0, log.read_text() + (tmp_path / "triton.log").read_text()
    report = LoadTestReport.model_validate_json((tmp_path / "baseline.json").read_text())
    assert [gate.passed for gate in report.gates] == [True, True]
    assert sum(point.succeeded for point in report.points) == 2 * 50
    assert "### ✅ Load test of digits: 2 gates passed" in (tmp_path / "summary.md").read_text()
    assert xml.parse(tmp_path / "run.xml").getroot().get("failures") == "0"
