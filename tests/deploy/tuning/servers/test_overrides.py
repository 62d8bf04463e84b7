"""The journals of configurations that a running server was given."""

from __future__ import annotations

import os
from pathlib import Path

from serve_deploy.tuning.servers.overrides import _try_lock


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
