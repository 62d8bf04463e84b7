"""The journals of configurations that a running server was given."""

from __future__ import annotations

import os
from pathlib import Path

from serve_deploy.tuning.servers.overrides import _try_lock, describe_restored, restore_overrides


def test_a_journal_that_is_gone_is_not_held(tmp_path: Path) -> None:
    """Its run removed it between the opening and the lock, and another run may have made a new one."""
    path = tmp_path / "journal.json"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        assert _try_lock(handle, path)
        path.unlink()
        assert not _try_lock(handle, path)
        path.touch()
        assert not _try_lock(handle, path)
    finally:
        os.close(handle)


def test_a_journal_that_cannot_be_opened_is_said_and_keeps_nobody_from_tuning(tmp_path: Path) -> None:
    """As one of another user."""
    (tmp_path / "overrides" / "0123.json").mkdir(parents=True)
    (restored,) = restore_overrides(tmp_path)
    assert "0123.json otherwise configured: it cannot be opened: is a directory" in describe_restored(restored)


def test_a_journal_without_an_address_is_removed(tmp_path: Path) -> None:
    """It was torn, or never one of ours."""
    path = tmp_path / "overrides" / "0123.json"
    path.parent.mkdir()
    path.write_text('{"url": "ftp://host", "models": {"m": {}}}')
    assert (restore_overrides(tmp_path), path.exists()) == ((), False)
