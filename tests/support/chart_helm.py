"""The real helm programs, which `make tools` puts into .tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
HELMS = ("helm4", "helm3")


def run_helm(
    program: str, *arguments: object, values: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm3 or helm4 out of .tools; `values` go in on stdin."""
    path = TOOLS / program
    if not path.exists():
        pytest.skip(f"{path} is missing: make tools")
    command = [str(path), *map(str, arguments)]
    if values is not None:
        command += ["--values", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=300)
