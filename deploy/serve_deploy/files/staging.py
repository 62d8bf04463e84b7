"""Write a folder in a staging folder first, so that a failed attempt leaves nothing behind."""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from glob import escape
from pathlib import Path

from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import JOURNAL, interrupts_deferred, undo_moves

STAGING_PREFIX = ".serve-"
_YOUNG_SECONDS = 60.0
# The folder that it is for, and what tempfile adds.
_STAGING = re.compile(rf"{re.escape(STAGING_PREFIX)}(?P<parent>.*)-[a-z0-9_]{{8}}(\.probe)?")


@contextmanager
def destination_errors(destination: Path) -> Iterator[None]:
    """Turn a failed write into DestinationError that names the destination and the system's reason."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DestinationError(
            f"cannot write to {destination}: {(error.strerror or str(error)).lower()}",
            hint="free some space, or write to another disk" if full else "choose a folder that you may write to",
        ) from error


@contextmanager
def staging_folder(parent: Path, *, beside: bool = False, clock: Callable[[], float] = time.time) -> Iterator[Path]:
    """Make a folder from which one rename leads into `parent` (made if need be); it is gone afterwards.

    It stands in `parent`, or `beside` it where that is possible: Triton takes every folder in a model repository for a
    model. A parent that was made for it goes again, too, if it stays empty.
    """
    made: list[Path] = []
    staged: list[Path] = []
    remove = partial(_remove_staging, staged)
    lock: int | None = None
    # An interrupt may come just before the last step.
    atexit.register(remove)
    try:
        with interrupts_deferred(), destination_errors(parent):
            _make_folders(parent, made)
            with folder_lock(parent):
                for place in (parent.resolve().parent, parent):
                    _remove_abandoned(place, parent.resolve().name, clock())
                staged.append(_make_staging(parent, beside=beside))
                lock = try_lock(staged[0])
        yield staged[0]
    finally:
        with interrupts_deferred():
            if lock is not None:
                os.close(lock)
            remove()
            atexit.unregister(remove)
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()


def _remove_staging(staged: list[Path]) -> None:
    """All but one with a journal: it holds what could not be put back."""
    for folder in staged:
        if not (folder / JOURNAL).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other runs of serve out of a folder for the moment, and undo what a killed one left half moved into it.

    Without locks on the file system, do without.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        with destination_errors(folder):
            for staging in _find_half_moved(folder):
                _undo_abandoned(staging)
        yield
    finally:
        os.close(handle)


def recover(folder: Path) -> None:
    """Undo what a killed run left half moved into a folder that is about to be read; cheap where there is nothing."""
    if _find_half_moved(folder):
        with folder_lock(folder):
            pass


def _find_half_moved(folder: Path) -> list[Path]:
    """The staging folders for a folder in which a journal tells what was moved, of its own users."""
    if not folder.is_dir():
        return []
    whole = folder.resolve()
    journals = [path for place in (whole.parent, whole) for path in place.glob(f"{escape(_prefix(whole))}*/{JOURNAL}")]
    users = {os.getuid(), whole.stat().st_uid}
    return [
        path.parent
        for path in journals
        if (found := _STAGING.fullmatch(path.parent.name))
        and found["parent"] == whole.name
        and path.stat().st_uid in users
    ]


def _undo_abandoned(staging: Path) -> None:
    handle = try_lock(staging)
    if handle is None:
        return
    try:
        if (staging / JOURNAL).exists():
            undo_moves(staging)
    finally:
        os.close(handle)


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def try_lock(folder: Path) -> int | None:
    """Lock a folder without waiting: its handle, or None where another process holds it or there are no locks."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _prefix(parent: Path) -> str:
    return f"{STAGING_PREFIX}{parent.resolve().name}-"


def _make_staging(parent: Path, *, beside: bool) -> Path:
    if beside:
        with suppress(OSError):
            staging = Path(tempfile.mkdtemp(prefix=_prefix(parent), dir=parent.resolve().parent))
            if _can_rename(staging, parent):
                return staging
            shutil.rmtree(staging)
    return Path(tempfile.mkdtemp(prefix=_prefix(parent), dir=parent))


def _can_rename(staging: Path, parent: Path) -> bool:
    """Whether both are in one mount, which device numbers do not tell; tried with a file, which Triton ignores."""
    probe, arrived = staging / "probe", parent / f"{staging.name}.probe"
    probe.touch()
    try:
        probe.rename(arrived)
    except OSError:
        return False
    arrived.unlink()
    return True


def _remove_abandoned(place: Path, ours: str, now: float) -> None:
    """Clear up after runs that were killed, whichever folder they wrote to: their staging is no longer locked."""
    for folder in place.glob(f"{STAGING_PREFIX}*"):
        # It may be another user's, or gone by now.
        with suppress(OSError):
            _remove_if_abandoned(folder, ours, now)


def _remove_if_abandoned(folder: Path, ours: str, now: float) -> None:
    found = _STAGING.fullmatch(folder.name)
    # A run that writes elsewhere may not have locked its own yet.
    if found is None or (found["parent"] != ours and now - folder.stat().st_ctime < _YOUNG_SECONDS):
        return
    if folder.suffix == ".probe":
        folder.unlink(missing_ok=True)
        return
    handle = try_lock(folder) if folder.is_dir() else None
    if handle is None:
        return
    # What another folder's run left half moved is undone when that folder is locked.
    if not (folder / JOURNAL).exists():
        shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
