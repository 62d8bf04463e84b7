"""What a killed server leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from serve_deploy.triton.process import remove_environment_folder


def test_only_an_empty_folder_since_the_start_is_removed(tmp_path: Path) -> None:
    """Older ones and used ones are somebody else's."""
    older, own = tmp_path / "python_env_older", tmp_path / "python_env_own"
    older.mkdir()
    start = older.stat().st_ctime + 1e-6
    while own.mkdir(exist_ok=True) or own.stat().st_ctime < start:
        own.rmdir()
    remove_environment_folder(tmp_path, start)
    assert os.listdir(tmp_path) == ["python_env_older"]


def test_a_used_folder_stays(tmp_path: Path) -> None:
    """A packed environment was unpacked into it."""
    (tmp_path / "python_env_used" / "environment").mkdir(parents=True)
    remove_environment_folder(tmp_path, 0)
    assert os.listdir(tmp_path) == ["python_env_used"]
