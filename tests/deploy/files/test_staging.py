"""Writing a folder whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from line_interrupts import interrupt_on_each_line

from serve_deploy.errors import DestinationError
from serve_deploy.files import moving, staging
from serve_deploy.files.copying import copy_file, link_tree
from serve_deploy.files.moving import interrupts_deferred


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content; None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def fill(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config").write_text(content)
    return folder


def test_nothing_remains_of_a_failure(tmp_path: Path) -> None:
    """Neither the staging folder nor the folders that were made for it."""

    def fail_midway() -> None:
        with staging.staging_folder(tmp_path / "a" / "models") as folder:
            fill(folder / "m", "half")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail_midway()
    assert read_tree(tmp_path) == {}


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    """By one rename, after which only it is there."""
    with staging.staging_folder(tmp_path / "models") as folder:
        staged = fill(folder / "m", "new")
        moving.move_into_place(staged, tmp_path / "models" / "m", replace=False)
    assert read_tree(tmp_path) == {"models": None, "models/m": None, "models/m/config": b"new"}


def test_a_folder_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Not even an empty one."""
    (tmp_path / "m").mkdir()
    with (
        pytest.raises(DestinationError, match="appeared during this run"),
        staging.staging_folder(tmp_path) as folder,
    ):
        moving.move_into_place(fill(folder / "m", "new"), tmp_path / "m", replace=False)
    assert read_tree(tmp_path) == {"m": None}


@pytest.mark.parametrize("rename", [moving.rename_with_flags, lambda *_arguments: False], ids=["exchange", "two_steps"])
def test_an_old_folder_is_swapped_for_the_new_one(tmp_path: Path, rename: moving.Rename) -> None:
    """At once where the file system can exchange two names, else by two renames."""
    fill(tmp_path / "m", "old")
    with staging.staging_folder(tmp_path) as folder:
        moving.move_into_place(fill(folder / "m", "new"), tmp_path / "m", replace=True, rename=rename)
    assert read_tree(tmp_path) == {"m": None, "m/config": b"new"}


@pytest.mark.parametrize("place", [".", "models"], ids=["beside", "inside"])
def test_what_a_killed_run_left_is_cleared_up_by_the_next(tmp_path: Path, place: str) -> None:
    """Its staging folder is no longer locked; an old folder that it had moved aside goes back."""
    fill(tmp_path / "models" / "other", "kept")
    left = tmp_path / place / ".serve-models-deadbeef"
    fill(left / "replaced" / "m", "old")
    number = fill(left / "m", "half").stat().st_ino
    way = "../models" if place == "." else ".."
    (left / moving.JOURNAL).write_text(f'{{"place": "{way}", "moves": [["m", "m", {number}]]}}')
    with staging.staging_folder(tmp_path / "models"):
        pass
    assert sorted(read_tree(tmp_path)) == [
        "models",
        "models/m",
        "models/m/config",
        "models/other",
        "models/other/config",
    ]


def test_staging_stands_beside_a_repository(tmp_path: Path) -> None:
    """Triton takes every folder inside for a model, and would not start because of it."""
    with staging.staging_folder(tmp_path / "models", beside=True) as folder:
        assert folder.parent == tmp_path
        assert list((tmp_path / "models").iterdir()) == []


def test_a_run_beside_ours_keeps_its_staging_folder(tmp_path: Path) -> None:
    """Two runs at once do not clear each other up."""
    with staging.staging_folder(tmp_path / "models") as first:
        fill(first / "m", "first")
        with staging.staging_folder(tmp_path / "models") as second:
            assert second != first
        assert (first / "m" / "config").read_text() == "first"
    assert read_tree(tmp_path) == {}


def test_an_interrupt_waits_for_the_end_of_the_step() -> None:
    """And is then what it would have been."""
    steps = []

    def step() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert steps == ["whole"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; only root can mount one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting needs root")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_a_full_disk_is_said_and_nothing_remains(small_disk: Path, tmp_path: Path) -> None:
    """With the folder and what to do."""
    large = tmp_path / "large"
    large.write_bytes(bytes(1 << 20))
    with (
        pytest.raises(DestinationError, match="no space left") as refused,
        staging.staging_folder(small_disk / "models") as folder,
        staging.destination_errors(small_disk),
    ):
        copy_file(large, folder / "copy")
    assert "free some space" in str(refused.value.hint)
    assert read_tree(small_disk) == {}


def test_in_the_root_of_a_file_system_staging_is_inside(small_disk: Path) -> None:
    """From anywhere else no rename leads there."""
    with staging.staging_folder(small_disk, beside=True) as folder:
        assert folder.parent == small_disk
        moving.move_into_place(fill(folder / "m", "new"), small_disk / "m", replace=False)
    assert read_tree(small_disk) == {"m": None, "m/config": b"new"}


@pytest.mark.parametrize("destination", ["/proc/models", "/dev/null/models"])
def test_a_place_that_takes_no_folders_is_said(destination: str) -> None:
    """In one line, with the system's reason."""
    with (
        pytest.raises(DestinationError, match=f"cannot write to {destination}: "),
        staging.staging_folder(Path(destination)),
    ):
        pass


def test_a_copy_is_the_same_and_of_its_own(tmp_path: Path) -> None:
    """Also of nothing, and never over what is there."""
    for content in (b"", os.urandom(100_000)):
        source, target = tmp_path / f"source{len(content)}", tmp_path / f"target{len(content)}"
        source.write_bytes(content)
        copy_file(source, target)
        assert target.read_bytes() == content
        assert target.stat().st_ino != source.stat().st_ino
        with pytest.raises(FileExistsError):
            copy_file(source, target)


def test_a_copy_works_where_the_system_call_does_not(tmp_path: Path) -> None:
    """Old kernels and some file systems have no copy_file_range."""

    def refuse(*_arguments: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    (tmp_path / "source").write_bytes(b"content")
    copy_file(tmp_path / "source", tmp_path / "target", copy_range=refuse)
    assert (tmp_path / "target").read_bytes() == b"content"


def test_a_tree_is_repeated_by_links(tmp_path: Path) -> None:
    """Without a copy of the data, with symbolic links as they are."""
    fill(tmp_path / "old" / "1", "weights")
    (tmp_path / "old" / "latest").symlink_to("1")
    link_tree(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / "1" / "config").stat().st_ino == (tmp_path / "old" / "1" / "config").stat().st_ino
    assert os.readlink(tmp_path / "new" / "latest") == "1"


def test_ctrl_c_on_any_line_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """A real SIGINT on each line of the modules in turn: never a mix, never a rest."""
    interrupt_on_each_line(tmp_path, 'moving.move_into_place(folder / "m", models / "m", replace=True)', "m")
    assert [folder.name for folder in tmp_path.iterdir() if not folder.name.isdigit()] == []
    trees = {int(folder.name): read_tree(folder) for folder in tmp_path.iterdir()}
    mixed = {number: tree for number, tree in trees.items() if set(tree) != {"m", "m/config"}}
    assert mixed == {}
    assert {tree["m/config"] for tree in trees.values()} == {b"old", b"new"}
    assert len(trees) > 50


def test_what_a_killed_run_left_for_another_repository_is_cleared_up(tmp_path: Path) -> None:
    """Once it is old enough that its run must have locked it, were it alive; but not what it had half moved."""
    left = tmp_path / ".serve-others-deadbeef"
    fill(left / "m", "half")
    fill(tmp_path / ".serve-others-halfmove" / "replaced" / "m", "old")
    (tmp_path / ".serve-others-halfmove" / moving.JOURNAL).touch()
    (tmp_path / "others").mkdir()
    made = left.stat().st_ctime
    with staging.staging_folder(tmp_path / "models", clock=lambda: made + 59.9):
        assert left.is_dir()
    with staging.staging_folder(tmp_path / "models", clock=lambda: made + 60):
        assert not left.exists()
    assert (tmp_path / ".serve-others-halfmove" / "replaced" / "m" / "config").read_text() == "old"


@pytest.mark.parametrize("other", ["strange", "young", "probe", "locked"])
def test_what_stays_does_not_keep_the_rest(tmp_path: Path, other: str) -> None:
    """In whichever order a folder is listed, all that is abandoned goes."""
    abandoned = [tmp_path / f".serve-models-aaaaaaa{number}" for number in range(8)]
    names = {"strange": ".serve-{}", "young": ".serve-else-aaaaaaa{}", "locked": ".serve-models-bbbbbbb{}"}
    for number, folder in enumerate(abandoned):
        folder.mkdir()
        if other == "probe":
            (tmp_path / f".serve-models-bbbbbbb{number}.probe").touch()
        else:
            (tmp_path / names[other].format(number)).mkdir()
    locks = (
        [staging.try_lock(tmp_path / names[other].format(number)) for number in range(8)] if other == "locked" else []
    )
    with staging.staging_folder(tmp_path / "models"):
        kept = [path for path in tmp_path.glob(".serve-*") if path not in abandoned]
        assert [folder for folder in abandoned if folder.exists()] == []
    for lock in locks:
        os.close(lock or 0)
    assert len(kept) == (0 if other == "probe" else 8)


def test_staging_stands_inside_unless_it_is_asked_for_beside(tmp_path: Path) -> None:
    """A folder of charts may hold anything."""
    with staging.staging_folder(tmp_path / "charts") as folder:
        assert folder.parent == tmp_path / "charts"


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device", "free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk quota exceeded", "free some space"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied", "choose a folder"),
        (OSError("Not a known number"), "not a known number", "choose a folder"),
    ],
)
def test_a_failed_write_says_where_and_why(error: OSError, message: str, hint: str) -> None:
    """And what to do about it."""
    with pytest.raises(DestinationError) as refused, staging.destination_errors(Path("models")):
        raise error
    assert refused.value.message == f"cannot write to models: {message}"
    assert str(refused.value.hint).startswith(hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_staging_beside_it_does_not_matter() -> None:
    """In a folder that many write to."""
    with TemporaryDirectory(dir="/tmp") as name:  # the tests' own folders are closed to others
        shared = Path(name)
        shared.chmod(0o1777)
        (shared / ".serve-theirs-abcdefgh").mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with staging.staging_folder(shared / "ours", beside=True, clock=lambda: 1e12) as folder:
                fill(folder / "m", "whole").rename(shared / "ours" / "m")
        finally:
            os.seteuid(0)
        assert (shared / "ours" / "m" / "config").read_text() == "whole"
        assert (shared / ".serve-theirs-abcdefgh").is_dir()


def test_another_runs_staging_may_go_at_any_moment(tmp_path: Path) -> None:
    """A link that leads nowhere looks like a folder that is gone by the time it is asked about."""
    (tmp_path / ".serve-theirs-abcdefgh").symlink_to("gone")
    with staging.staging_folder(tmp_path / "ours", beside=True) as folder:
        assert folder.is_dir()
