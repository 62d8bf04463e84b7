"""The contracts of `make lint` notice what they are there for: planted faults in a copy of the code."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
HOUSES = {
    container: [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for container in contract.get("containers", ())
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what lint-imports looks at."""
    for folder in ("cli", "deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _lint(folder: Path) -> str:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = {"PYTHONPATH": f"{folder / 'cli'}:{folder / 'deploy'}", "COLUMNS": "200", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


def test_an_upward_import_is_noticed_in_every_room(copy: Path) -> None:
    """Each room but those at the top is given an import of the room above it: lint names every one of them."""
    planted = [
        (f"{house}.{room}", f"{house}.{above[0]}")
        for house, floors in HOUSES.items()
        for above, floor in itertools.pairwise(floors)
        for room in floor
    ]
    for room, above in planted:
        folder = copy / "deploy" / room.replace(".", "/")
        file = folder / "planted.py" if folder.is_dir() else folder.with_suffix(".py")
        with file.open("a", encoding="utf-8") as code:
            code.write(f"\nimport {above}\n")
    said = re.sub(r"\s+", " ", _lint(copy))
    missed = [room for room, above in planted if f"{room} is not allowed to import {above}" not in said]
    assert not missed


def test_modules_that_import_each_other_are_noticed(copy: Path) -> None:
    """Two modules of one room that know each other break a contract."""
    room = copy / "deploy" / "serve_deploy" / "tensors"
    (room / "one.py").write_text("import serve_deploy.tensors.other\n", encoding="utf-8")
    (room / "other.py").write_text("import serve_deploy.tensors.one\n", encoding="utf-8")
    assert "No modules import each other in a circle BROKEN" in _lint(copy)
