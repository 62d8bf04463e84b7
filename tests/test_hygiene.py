"""Nothing that belongs to one machine, and no secret, is in the tree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import serve_deploy

ROOT = Path(__file__).parents[1]
SKIPPED = {".git", ".venv", ".tools", "dist", "build", "node_modules", "__pycache__", "models"}
SKIPPED |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
MAX_BYTES = 1_000_000

# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = {
    "an absolute path of one machine": r"(?<![\w.~$}-])/(?:ro" + r"ot|wo" + r"rk|home/(?!triton)\w+)(?:/|\b(?![\w-]))",
    "a package registry's host": r"files\.pythonhost" + r"ed\.org|pypi\.org/sim" + r"ple|registry\.npm" + r"js\.org",
    "another package index": r"--(?:extra-)?index" + r"-url|--find" + r"-links",
    "a private key": r"-----BEGIN [A-Z ]*PRIV" + r"ATE KEY-----",
    "an access key": r"\bAKI" + r"A[0-9A-Z]{16}\b|\bgh[pos]" + r"_\w{36}\b|\bhf" + r"_[A-Za-z]{34}\b",
}


def _tracked_files() -> list[Path]:
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        return [path for name in names if name and (path := ROOT / name).is_file()]
    # An unpacked sdist, or a machine without git.
    return [path for path in ROOT.rglob("*") if path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_contains(what: str) -> None:
    """No committed file names a private path, a registry host or a secret."""
    pattern = re.compile(FORBIDDEN[what].encode())
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in _tracked_files()
        if (match := pattern.search(path.read_bytes()))
    ]
    assert found == []


def test_files_are_small() -> None:
    """Models and data that do not fit into a repository are made or fetched by a test, not committed."""
    assert [str(path) for path in _tracked_files() if path.stat().st_size > MAX_BYTES] == []


def test_constraints_are_exact_versions() -> None:
    """Every line pins a version of a package, and none names where to get it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line and not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)] == []


WORKFLOWS = sorted([*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "examples" / "ci").glob("*.yml")])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    """A tag can be moved to other code; beside the commit stands the version that it is."""
    used = re.findall(r"uses: *(.*)", workflow.read_text(encoding="utf-8"))
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_wait_for_jobs_that_exist(workflow: Path) -> None:
    """`needs` of a job that is not there would refuse the whole workflow."""
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    waits = {name for job in jobs.values() for name in ([job["needs"]] if "needs" in job else [])}
    assert waits <= set(jobs)


def test_the_tool_and_the_chart_have_one_version() -> None:
    """One tag releases both."""
    chart = yaml.safe_load((ROOT / "charts" / "triton" / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == serve_deploy.__version__
