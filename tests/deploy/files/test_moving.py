"""Several folders that take their places together: all of them or none, also on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import move_all, rename_with_flags


def make(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config").write_text(content)
    return folder


def refuse_flags(_source: Path, _target: Path, _flags: int) -> bool:
    """A file system that neither exchanges names nor refuses to replace."""
    return False


def read(models: Path) -> dict[str, str]:
    return {folder.name: (folder / "config").read_text() for folder in sorted(models.iterdir())}


@pytest.mark.parametrize("rename", [rename_with_flags, refuse_flags])
def test_all_take_their_places(tmp_path: Path, rename: object) -> None:
    """New ones, and ones that replace."""
    models, staged = tmp_path / "models", tmp_path / "staged"
    make(models / "a", "old")
    moves = [(make(staged / name, "new"), models / name, name == "a") for name in ("a", "b")]
    move_all(moves, rename=rename)  # type: ignore[arg-type]
    assert read(models) == {"a": "new", "b": "new"}


@pytest.mark.parametrize("rename", [rename_with_flags, refuse_flags])
def test_one_that_cannot_take_its_place_takes_all_back(tmp_path: Path, rename: object) -> None:
    """Another run has made the last one meanwhile."""
    models, staged = tmp_path / "models", tmp_path / "staged"
    make(models / "a", "old")
    make(models / "d", "old")
    make(models / "c", "another run's")
    moves = [(make(staged / name, "new"), models / name, name in "ad") for name in ("a", "b", "d", "c")]
    with pytest.raises(DestinationError, match="c appeared during this run"):
        move_all(moves, rename=rename)  # type: ignore[arg-type]
    assert read(models) == {"a": "old", "c": "another run's", "d": "old"}


_INTERRUPT_ON_EACH_LINE = """
import os, signal, sys
from pathlib import Path
from serve_deploy.files import moving, staging

signal.signal(signal.SIGINT, signal.default_int_handler)

def run(models, number):
    count = 0
    def trace(frame, event, _argument):
        nonlocal count
        if frame.f_code.co_filename not in (moving.__file__, staging.__file__):
            return None
        if event == "line":
            count += 1
            if count == number:
                signal.raise_signal(signal.SIGINT)
        return trace
    sys.settrace(trace)
    try:
        with staging.staging_folder(models, beside=True) as folder:
            for name in ("a", "b"):
                (folder / name).mkdir()
                (folder / name / "config").write_text("new")
            moving.move_all([(folder / "a", models / "a", True), (folder / "b", models / "b", False)])
    except KeyboardInterrupt:
        pass
    sys.settrace(None)
    sys.exit(0 if count >= number else 3)

for number in range(1, 1000):
    models = Path(sys.argv[1]) / str(number)
    (models / "a").mkdir(parents=True)
    (models / "a" / "config").write_text("old")
    child = os.fork()
    if child == 0:
        run(models, number)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3:
        break
"""


def test_ctrl_c_on_any_line_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """A real SIGINT on each line in turn: never one without the other."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPT_ON_EACH_LINE, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found = [read(folder) for folder in sorted(tmp_path.iterdir())]
    assert {tuple(each.items()) for each in found} == {(("a", "old"),), (("a", "new"), ("b", "new"))}
    assert len(found) > 50
