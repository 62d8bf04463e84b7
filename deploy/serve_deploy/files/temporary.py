"""Temporary folders that are locked as long as their maker lives: what a killed run leaves is removed by the next."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from serve_deploy.files.staging import try_lock

TEMPORARY_PREFIX = "serve-temporary-"
_NEW = "new-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX keeps it, not a temporary file of ours
_NOTE = "shared-memory"
_REGIONS = "serve-"
_locks: dict[Path, int | None] = {}


def make_temporary(kind: str, place: Path | None = None, *, shared_memory: str = "") -> Path:
    """An own folder in `place` (by default TMPDIR), cleared of what killed runs left there; OSError where it cannot be.

    Its maker's regions of shared memory, whose names begin with `shared_memory`, go with it.
    """
    place = place or Path(tempfile.gettempdir())
    remove_abandoned(place)
    # Under a name that nobody clears up until it is locked.
    made = Path(tempfile.mkdtemp(prefix=f"{_NEW}{TEMPORARY_PREFIX}{kind}-", dir=place))
    lock = try_lock(made)
    folder = made.rename(place / made.name.removeprefix(_NEW))
    _locks[folder] = lock
    if shared_memory:
        (folder / _NOTE).write_text(shared_memory)
    return folder


def remove_temporary(folder: Path) -> None:
    """Remove a folder of `make_temporary`, if it is still there."""
    shutil.rmtree(folder, ignore_errors=True)
    lock = _locks.pop(folder, None)
    if lock is not None:
        os.close(lock)


@contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """A folder of `make_temporary` as long as the block."""
    folder = make_temporary(kind)
    try:
        yield folder
    finally:
        remove_temporary(folder)


def remove_abandoned(place: Path) -> None:
    """Remove what killed runs of this user left in a folder: what no process holds the lock of any more."""
    for folder in place.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):
            lock = try_lock(folder) if folder.stat().st_uid == os.getuid() and folder.is_dir() else None
            if lock is None:
                continue
            _remove_shared_memory(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _remove_shared_memory(folder: Path) -> None:
    note = folder / _NOTE
    prefix = note.read_text() if note.is_file() else ""
    if prefix.startswith(_REGIONS):
        for region in _SHARED_MEMORY.glob(f"{escape(prefix)}*"):
            region.unlink(missing_ok=True)
