"""kill -9 at random moments of a push and a pull: nothing is damaged, and the next one completes the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "support" / "killed_transfers.py"
ROUNDS = os.environ.get("SERVE_STORE_ROUNDS", "2")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["push", "fixed", "pull", "new", "cache"])
def test_a_kill_damages_nothing(tmp_path: Path, kind: str) -> None:
    """A reader finds the old repository or the new one; in the fixed layout, each model."""
    command = [sys.executable, SCRIPT, kind, tmp_path / "store", tmp_path, ROUNDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["damaged"] == []
    assert report["killed"] == int(ROUNDS)
