"""Several folders that take their places together: all of them or none, also on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from line_interrupts import interrupt_on_each_line

from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import JOURNAL, move_all, rename_with_flags
from serve_deploy.files.staging import folder_lock, recover, staging_folder


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


def test_ctrl_c_on_any_line_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """A real SIGINT on each line in turn: never one without the other."""
    moves = '[(folder / "a", models / "a", True), (folder / "b", models / "b", False)]'
    interrupt_on_each_line(tmp_path, f"moving.move_all({moves})", "ab")
    found = [read(folder) for folder in sorted(tmp_path.iterdir())]
    assert {tuple(each.items()) for each in found} == {(("a", "old"),), (("a", "new"), ("b", "new"))}
    assert len(found) > 50


_KILL_AT_EACH_CHANGE = """
import os, signal, sys
from pathlib import Path
from serve_deploy.files import moving, staging

flags = moving.rename_with_flags if sys.argv[2] == "exchange" else lambda *_arguments: False
left = 0

def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(lambda event, _arguments: count() if event in ("os.rename", "os.remove", "os.rmdir") else None)

def rename(source, target, how):
    count()
    return flags(source, target, how)

moving.undo_moves.__kwdefaults__["rename"] = rename

def commit(models):
    with staging.staging_folder(models, beside=True) as folder, staging.folder_lock(models):
        moves = [(folder / name, models / name, name != "b") for name in "abcd"]
        for place, _destination, _replace in moves:
            place.mkdir()
            (place / "config").write_text("new")
        moving.move_all(moves, rename=rename)

def killed(number, step, models):
    global left
    child = os.fork()
    if child == 0:
        left = number
        step(models)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

def state(models):
    return "".join((models / name / "config").read_text() if (models / name).exists() else "-" for name in "abcd")

def prepare(number, again):
    models = Path(sys.argv[1]) / f"{number}-{again}" / "models"
    for name in "acd":
        (models / name).mkdir(parents=True)
        (models / name / "config").write_text("old")
    return models

for number in range(1, 1000):
    for again in range(1, 1000):
        models = prepare(number, again)
        was_killed = killed(number, commit, models)
        between = state(models)
        was_killed_again = killed(again, staging.recover, models)
        staging.recover(models)
        print(number, again, between, state(models))
        if not was_killed_again:
            break
    if not was_killed:
        break
"""


@pytest.mark.parametrize("way", ["exchange", "two_steps"])
def test_a_kill_at_any_rename_leaves_the_old_or_the_new_to_the_next_run(tmp_path: Path, way: str) -> None:
    """Also where the recovery is killed at any of its renames; on the way no folder is a mix of both."""
    done = subprocess.run(
        [sys.executable, "-c", _KILL_AT_EACH_CHANGE, tmp_path, way], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    before, after = "old-oldold", "newnewnewnew"
    assert {line[3] for line in lines} == {before, after}
    on_the_way = [before, "new-oldold", "newnewoldold", "newnewnewold", after]
    missing = ["--oldold", "newnew-old", "newnewnew-"] if way == "two_steps" else []
    assert {line[2] for line in lines} == {*on_the_way, *missing}
    # It is taken back until all of it is done, and never afterwards.
    assert all(line[3] == before for line in lines if line[2] != after)
    for folder in tmp_path.iterdir():
        with staging_folder(folder / "models", beside=True):
            pass
        assert [path.name for path in folder.iterdir()] == ["models"]


def leave_half_moved(folder: Path) -> Path:
    """What a run that was killed after its first move leaves: `a` is new, `b` not yet; its staging folder."""
    models, staging = folder / "models", folder / ".serve-models-deadbeef"
    make(models / "a", "new")
    make(models / "b", "old")
    make(staging / "replaced" / "a", "old")
    make(staging / "b", "new")
    inodes = [(models / "a").stat().st_ino, (staging / "b").stat().st_ino]
    (staging / JOURNAL).write_text(
        f'{{"place": "../models", "moves": [["a", "a", {inodes[0]}], ["b", "b", {inodes[1]}]]}}'
    )
    return staging


def test_a_folder_that_is_locked_is_whole_again(tmp_path: Path) -> None:
    """Before anything is read in it."""
    leave_half_moved(tmp_path)
    with folder_lock(tmp_path / "models"):
        assert read(tmp_path / "models") == {"a": "old", "b": "old"}


def test_what_was_written_after_the_kill_is_not_lost(tmp_path: Path) -> None:
    """Another folder in the place, and the old one: both stay until somebody chooses."""
    staging = leave_half_moved(tmp_path)
    (tmp_path / "models" / "a").rename(tmp_path / "killed_run's")
    make(tmp_path / "models" / "a", "by hand")
    for _again in range(2):
        with pytest.raises(DestinationError, match="a was changed after a run that replaced it was killed") as refused:
            recover(tmp_path / "models")
        assert str(staging) in str(refused.value.hint)
    assert read(tmp_path / "models") == {"a": "by hand", "b": "old"}
    assert read(staging / "replaced") == {"a": "old"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_strangers_journal_moves_nothing(tmp_path: Path) -> None:
    """In a folder where everybody may write, such as /tmp."""
    staging = leave_half_moved(tmp_path)
    os.chown(staging / JOURNAL, 12345, 12345)
    recover(tmp_path / "models")
    assert read(tmp_path / "models") == {"a": "new", "b": "old"}
