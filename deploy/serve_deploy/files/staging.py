"""Write a folder in a staging folder first, so that a failed attempt leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import REPLACED, interrupts_deferred

STAGING_PREFIX = ".serve-"


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
def staging_folder(parent: Path, *, beside: bool = False) -> Iterator[Path]:
    """Make a folder from which one rename leads into `parent` (made if need be); it is gone afterwards.

    It stands in `parent`, or `beside` it where that is possible: Triton takes every folder in a model repository for a
    model. A parent that was made for it goes again, too, if it stays empty.
    """
    made: list[Path] = []
    staging: tempfile.TemporaryDirectory[str] | None = None
    lock: int | None = None
    try:
        with interrupts_deferred(), destination_errors(parent):
            _make_folders(parent, made)
            with folder_lock(parent):
                for place in (parent.resolve().parent, parent):
                    _remove_abandoned(place, parent)
                staging = _make_staging(parent, beside=beside)
                lock = _try_lock(Path(staging.name))
        yield Path(staging.name)
    finally:
        with interrupts_deferred():
            if lock is not None:
                os.close(lock)
            if staging is not None:
                staging.cleanup()
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other runs of serve out of a folder for the moment; without locks on the file system, do without."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _try_lock(folder: Path) -> int | None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _prefix(parent: Path) -> str:
    return f"{STAGING_PREFIX}{parent.resolve().name}-"


def _make_staging(parent: Path, *, beside: bool) -> tempfile.TemporaryDirectory[str]:
    if beside:
        with suppress(OSError):
            staging = tempfile.TemporaryDirectory(prefix=_prefix(parent), dir=parent.resolve().parent)
            if _can_rename(Path(staging.name), parent):
                return staging
            staging.cleanup()
    return tempfile.TemporaryDirectory(prefix=_prefix(parent), dir=parent)


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


def _remove_abandoned(place: Path, parent: Path) -> None:
    """Clear up after runs that were killed: their staging folders are no longer locked."""
    for folder in place.glob(f"{glob.escape(_prefix(parent))}*"):
        if folder.suffix == ".probe":
            folder.unlink()
        handle = _try_lock(folder) if folder.is_dir() else None
        if handle is None:
            continue
        os.close(handle)
        for old in folder.glob(f"{REPLACED}/*"):
            if not (parent / old.name).exists():
                old.rename(parent / old.name)
        shutil.rmtree(folder, ignore_errors=True)
