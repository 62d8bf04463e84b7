"""The journals of configurations that a running server was given."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from serve_deploy import parse_endpoint
from serve_deploy.errors import DestinationError
from serve_deploy.tuning.servers.overrides import _try_lock, describe_restored, journals, restore_overrides

LARGE = {"parameters": {f"key{number}": {"string_value": "x" * 100} for number in range(100)}}


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


def test_an_address_of_another_machine_itself_is_left_to_that_one(tmp_path: Path) -> None:
    """In a state folder that machines share, localhost is another server on each."""
    path = tmp_path / "overrides" / "0123.json"
    path.parent.mkdir()
    path.write_text('{"url": "http://localhost:9", "host": "elsewhere", "models": {"m": {}}}')
    (restored,) = restore_overrides(tmp_path)
    assert "that is an address on elsewhere" in describe_restored(restored)
    assert path.exists()


def test_a_journal_is_written_whole_or_the_run_does_not_begin(tmp_path: Path) -> None:
    """Half a journal would be taken for that of a run that was killed before it changed anything."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DestinationError), journals(tmp_path, parse_endpoint("http://127.0.0.1:9"), {"m": LARGE}):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
