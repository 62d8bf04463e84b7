"""Write a folder so that whoever looks sees the old one or the new one, whole; nothing is left of a failed attempt."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from serve_deploy.errors import DestinationError

STAGING_PREFIX = ".serve-"
_REPLACED = "replaced"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_AT_FDCWD = -100
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextmanager
def destination_errors(destination: Path) -> Iterator[None]:
    """Turn a failed write into DestinationError that names the destination and the system's reason."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space, or write elsewhere with -o",
            errno.EDQUOT: "free some space, or write elsewhere with -o",
            errno.EFBIG: "a file is larger than this destination allows; write elsewhere with -o",
        }
        raise DestinationError(
            f"cannot write to {destination}: {(error.strerror or str(error)).lower()}",
            hint=hints.get(error.errno or 0, "choose a folder that you may write to, with -o"),
        ) from error


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end of a step that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    previous: dict[int, Any] = {}
    try:
        for number in _SIGNALS:
            previous[number] = signal.signal(number, lambda received, _frame: pending.append(received))
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)
        for received in pending[:1]:
            signal.raise_signal(received)


@contextmanager
def staging_folder(repository: Path) -> Iterator[Path]:
    """Make a folder from which one rename leads into `repository` (made if need be); it is gone afterwards.

    It stands beside the repository, because Triton takes every folder in it for a model; inside it only where the
    repository is the root of its file system. A repository that was made for it goes again, too, if it stays empty.
    """
    made: list[Path] = []
    staging: tempfile.TemporaryDirectory[str] | None = None
    lock: int | None = None
    try:
        with interrupts_deferred(), destination_errors(repository):
            _make_folders(repository, made)
            with folder_lock(repository):
                for place in _places(repository):
                    _remove_abandoned(place, repository)
                staging = _make_staging(repository)
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


def move_into_place(staged: Path, destination: Path, *, replace: bool) -> None:
    """Rename a staged folder to its destination, or swap the two; DestinationError if one appeared meanwhile.

    With `replace` the old folder ends up at `staged`, whose staging folder removes it.
    """
    with interrupts_deferred():
        if not replace:
            _rename_new(staged, destination)
        elif not _rename(staged, destination, _RENAME_EXCHANGE):
            _swap_in_two_steps(staged, destination)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, shared on disk where the file system can (reflink), and never through our memory."""
    with source.open("rb") as reader, target.open("xb") as writer:
        remaining = os.fstat(reader.fileno()).st_size
        while remaining > 0:
            try:
                copied = os.copy_file_range(reader.fileno(), writer.fileno(), min(remaining, 1 << 30))
            except OSError as error:
                if error.errno not in (*_UNSUPPORTED, errno.EXDEV, errno.EPERM):
                    raise
                shutil.copyfileobj(reader, writer, 1 << 20)
                return
            if copied == 0:
                return
            remaining -= copied


def link_tree(source: Path, target: Path) -> None:
    """Repeat a file or folder under another name by hard links, or copies where links are not possible."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)
    else:
        _link_or_copy(str(source), str(target))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


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


def _places(repository: Path) -> tuple[Path, Path]:
    return repository.resolve().parent, repository


def _prefix(repository: Path) -> str:
    return f"{STAGING_PREFIX}{repository.resolve().name}-"


def _make_staging(repository: Path) -> tempfile.TemporaryDirectory[str]:
    beside, inside = _places(repository)
    with suppress(OSError):
        staging = tempfile.TemporaryDirectory(prefix=_prefix(repository), dir=beside)
        if _can_rename(Path(staging.name), repository):
            return staging
        staging.cleanup()
    return tempfile.TemporaryDirectory(prefix=_prefix(repository), dir=inside)


def _can_rename(staging: Path, repository: Path) -> bool:
    """Whether both are in one mount, which device numbers do not tell; tried with a file, which Triton ignores."""
    probe, arrived = staging / "probe", repository / f"{staging.name}.probe"
    probe.touch()
    try:
        probe.rename(arrived)
    except OSError:
        return False
    arrived.unlink()
    return True


def _remove_abandoned(place: Path, repository: Path) -> None:
    """Clear up after runs that were killed: their staging folders are no longer locked."""
    for folder in place.glob(f"{glob.escape(_prefix(repository))}*"):
        if folder.suffix == ".probe":
            folder.unlink()
        handle = _try_lock(folder) if folder.is_dir() else None
        if handle is None:
            continue
        os.close(handle)
        for old in folder.glob(f"{_REPLACED}/*"):
            if not (repository / old.name).exists():
                old.rename(repository / old.name)
        shutil.rmtree(folder, ignore_errors=True)


def _rename_new(staged: Path, destination: Path) -> None:
    with suppress(FileExistsError):
        if _rename(staged, destination, _RENAME_NOREPLACE):
            return
        if not destination.exists():
            staged.rename(destination)
            return
    raise DestinationError(f"{destination} appeared meanwhile", hint="another run may have written it; try again")


def _swap_in_two_steps(staged: Path, destination: Path) -> None:
    # For file systems that cannot exchange two names at once. A kill between the two renames leaves the old folder
    # in staging, from where the next run puts it back.
    aside = staged.parent / _REPLACED / destination.name
    aside.parent.mkdir()
    destination.rename(aside)
    try:
        staged.rename(destination)
    except BaseException:
        aside.rename(destination)
        raise


def _rename(source: Path, target: Path, flags: int) -> bool:
    """renameat2(2); False where the system or the file system has it not."""
    call: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(target))
