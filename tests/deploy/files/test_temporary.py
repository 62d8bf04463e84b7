"""Temporary folders, and what becomes of them where their maker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from serve_deploy.files.temporary import make_temporary, remove_abandoned, remove_temporary

_MAKER = """
import sys
from pathlib import Path
from serve_deploy.files.temporary import make_temporary
print(make_temporary("test", Path(sys.argv[1]), shared_memory=sys.argv[2]), flush=True)
sys.stdin.read()
"""


def start_maker(place: Path, shared_memory: str = "") -> tuple[subprocess.Popen[str], Path]:
    """Another process with a temporary folder of its own; it lives until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MAKER, place, shared_memory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """With its shared memory; SIGKILL leaves it no time to do so itself."""
    region = Path("/dev/shm") / f"serve-{uuid4().hex}-region"
    region.write_bytes(b"0")
    process, folder = start_maker(tmp_path, region.name.removesuffix("region"))
    (folder / "file").write_text("half")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert folder.exists()
    ours = make_temporary("other", tmp_path)
    assert list(tmp_path.iterdir()) == [ours]
    assert not region.exists()
    remove_temporary(ours)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_live_process_stays(tmp_path: Path) -> None:
    """As long as it is locked, it is in use."""
    process, folder = start_maker(tmp_path)
    remove_abandoned(tmp_path)
    assert folder.is_dir()
    process.communicate()
    remove_abandoned(tmp_path)
    assert not folder.exists()


def test_what_others_made_stays(tmp_path: Path) -> None:
    """Only folders that this makes are cleared up, and never by way of a link or a file."""
    (tmp_path / "serve-something").mkdir()
    (tmp_path / "serve-temporary-file").write_text("")
    (tmp_path / "elsewhere").mkdir()
    remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "serve-something", "serve-temporary-file"]
