"""The session in docs/python.md runs as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_python_session_runs(tmp_path: Path) -> None:
    """All its blocks, one after the other, in a folder that holds examples/."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "session.py").write_text("\n".join(blocks), encoding="utf-8")
    run = subprocess.run([sys.executable, "session.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert {"models", "deploy-chart", "sweep.json", "sweep.html"} <= {path.name for path in tmp_path.iterdir()}
    assert "already exists" in run.stdout
