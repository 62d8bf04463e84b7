"""The examples of load tests in CI do what they promise, on a real Triton."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
import yaml
from ports import free_port

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
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def run_script(script: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Run shell lines as a CI job would; its exit code and what it said. What it left running ends with it."""
    (folder / "examples").symlink_to(ROOT / "examples")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "serve").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m serve_cli "$@"\n')
    (bin_folder / "serve").chmod(0o755)
    log = folder / "log"
    # Whoever is left holds the other end of this pipe.
    left, held = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"} | environment, start_new_session=True,
            pass_fds=(held,),
        )  # fmt: skip
    os.close(held)
    try:
        process.wait(timeout=500)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the lines did not end; so far they said:\n{log.read_text()}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        ended, _, _ = select.select([left], [], [], 60)
        os.close(left)
    assert ended
    return process.returncode, log.read_text()


def documented_lines(section: int = 0) -> str:
    """The shell lines of docs/ci.md: those for any model, or those for a language model."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    return str(blocks[section])


def test_the_lines_of_the_document_run_as_they_stand(tmp_path: Path) -> None:
    """Copied into any CI, on any free port: they package, serve, wait, measure and leave their files."""
    code, log = run_script(documented_lines().replace("8000", str(free_port())), tmp_path)
    assert code == 0, log + (tmp_path / "triton.log").read_text()
    assert "p99<5s" in log
    assert {"run.json", "run.html", "run.xml", "triton.log"} <= {path.name for path in tmp_path.iterdir()}


def test_the_lines_of_the_document_show_why_the_server_failed(tmp_path: Path) -> None:
    """Where Triton does not start, its log is in the job's output, and the exit code is the load test's."""
    lines = documented_lines().replace("8000", str(free_port()))
    lines = lines.replace("serve run models", "serve run nowhere").replace("--wait 120", "--wait 4")
    code, log = run_script(lines, tmp_path)
    assert code == 6
    assert "digits was not ready within 4 s" in log
    assert "nowhere is not a folder" in log


def test_the_lines_for_a_language_model_run_as_they_stand(tmp_path: Path) -> None:
    """They wait for the model, send the prompts of the file, judge the gates and leave their files."""
    port = str(free_port())
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is a river?"}\n{"prompt": "And a sea?"}\n')
    serving = f"serve run {ROOT}/examples/token_stream --http-port {port} --grpc-port 0 --metrics-port 0 &\n"
    lines = documented_lines(1).replace("8000", port).replace("--rate 2 --duration 60", "--rate 4 --duration 2")
    code, log = run_script(serving + lines, tmp_path)
    assert code in (0, 7), log  # a busy machine may miss a gate
    report = LoadTestReport.model_validate_json((tmp_path / "run.json").read_text())
    assert [gate.expression for gate in report.gates] == ["ttft_p99<2s", "itl_p99<100ms", "goodput>95%", "errors<1%"]
    assert report.points[0].succeeded == report.points[0].sent > 0
    assert {"run.html", "run.xml"} <= {path.name for path in tmp_path.iterdir()}


def test_the_workflow_packages_serves_measures_and_summarises(tmp_path: Path) -> None:
    """The workflow's own commands, but for installing and commenting, run one after the other as a CI would."""
    workflow = yaml.safe_load((EXAMPLES / "loadtest.yml").read_text())
    steps = {
        step["name"]: step["run"] for step in workflow["jobs"]["loadtest"]["steps"] if {"name", "run"} <= set(step)
    }
    assert list(steps) == [
        "Install", "Package", "Start Triton", "Load-test", "Show the server's log", "Summarise", "Comment",
        "Make it the new baseline",
    ]  # fmt: skip
    wanted = ("Package", "Start Triton", "Load-test", "Show the server's log", "Summarise", "Make it the new baseline")
    script = "set -eo pipefail\n" + "\n".join(steps[name] for name in wanted)
    assert "--duration 5 --repeat 5" in script
    script = script.replace("--duration 5 --repeat 5", "--duration 1 --repeat 2")
    summary = tmp_path / "summary.md"
    code, log = run_script(script, tmp_path, HTTP_PORT=str(free_port()), GITHUB_STEP_SUMMARY=str(summary))
    assert code == 0, log + (tmp_path / "triton.log").read_text()
    report = LoadTestReport.model_validate_json((tmp_path / "baseline.json").read_text())
    assert [gate.passed for gate in report.gates] == [True, True]
    assert sum(point.succeeded for point in report.points) == 2 * 50
    assert "### ✅ Load test of digits: 2 gates passed" in summary.read_text()
    assert xml.parse(tmp_path / "run.xml").getroot().get("failures") == "0"
