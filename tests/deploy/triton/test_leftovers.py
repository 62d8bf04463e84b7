"""What a killed server leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from serve_deploy.triton.leftovers import remove_environment_folders


def _make(folder: Path, after: float = 0.0) -> float:
    """Make a folder whose time is later than another's."""
    while folder.mkdir(exist_ok=True) or folder.stat().st_ctime <= after:
        folder.rmdir()
    return folder.stat().st_ctime


def test_only_the_first_empty_folder_since_the_start_is_removed(tmp_path: Path) -> None:
    """Older ones are another running server's, later ones too."""
    older = _make(tmp_path / "python_env_older")
    own = _make(tmp_path / "python_env_own", older)
    _make(tmp_path / "python_env_later", own)
    remove_environment_folders(own, tmp_path, oldest=0)
    assert sorted(os.listdir(tmp_path)) == ["python_env_later", "python_env_older"]


def test_a_used_folder_stays(tmp_path: Path) -> None:
    """A packed environment was unpacked into it."""
    (tmp_path / "python_env_used" / "environment").mkdir(parents=True)
    remove_environment_folders(0, tmp_path, oldest=float("inf"))
    assert os.listdir(tmp_path) == ["python_env_used"]


def test_folders_from_before_every_running_server_are_removed(tmp_path: Path) -> None:
    """Killed servers left them, which nothing else cleans."""
    last = max(_make(tmp_path / f"python_env_{number}") for number in range(3))
    remove_environment_folders(last + 1, tmp_path, oldest=last + 2)
    assert os.listdir(tmp_path) == []
