"""Move a folder into its place at once: readers see the old one or the new one, whole."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from serve_deploy.errors import DestinationError

# Whether the rename was done: False where the system or the file system does not know these flags.
Rename = Callable[[Path, Path, int], bool]
# Below the staged folder's parent: where an old folder waits while the new one takes its place.
REPLACED = "replaced"
_NO_REPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end of a step that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, lambda received, _frame: pending.append(received))
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)
        for received in pending[:1]:
            signal.raise_signal(received)


def rename_with_flags(source: Path, target: Path, flags: int) -> bool:
    """renameat2(2): replace nothing, or exchange the two names."""
    call: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(target))


def move_into_place(staged: Path, destination: Path, *, replace: bool, rename: Rename = rename_with_flags) -> None:
    """Rename a staged folder to its destination, or swap the two; DestinationError if one appeared meanwhile.

    With `replace` the old folder ends up at `staged`, whose staging folder removes it.
    """
    with interrupts_deferred():
        if not replace:
            _rename_new(staged, destination, rename)
        elif not rename(staged, destination, _EXCHANGE):
            _swap_in_two_steps(staged, destination)


def move_all(moves: Sequence[tuple[Path, Path, bool]], *, rename: Rename = rename_with_flags) -> None:
    """Move staged folders to their destinations, each with whether it replaces one; an error takes back all of them."""
    with interrupts_deferred():
        done: list[tuple[Path, Path, bool]] = []
        try:
            for staged, destination, replace in moves:
                move_into_place(staged, destination, replace=replace, rename=rename)
                done.append((staged, destination, replace))
        except BaseException:
            for staged, destination, replace in reversed(done):
                _take_back(staged, destination, replace=replace)
            raise


def _take_back(staged: Path, destination: Path, *, replace: bool) -> None:
    """The old folder back in its place: it waits at `staged` where the two were exchanged, else aside."""
    aside = _aside(staged, destination)
    if staged.exists():
        aside.parent.mkdir(exist_ok=True)
        staged.rename(aside)
    destination.rename(staged)
    if replace:
        aside.rename(destination)


def _aside(staged: Path, destination: Path) -> Path:
    return staged.parent / REPLACED / destination.name


def _rename_new(staged: Path, destination: Path, rename: Rename) -> None:
    with suppress(FileExistsError):
        if rename(staged, destination, _NO_REPLACE):
            return
        if not destination.exists():
            staged.rename(destination)
            return
    raise DestinationError(f"{destination} appeared during this run", hint="another run may have written it; try again")


def _swap_in_two_steps(staged: Path, destination: Path) -> None:
    # For file systems that cannot exchange two names at once. A kill between the two renames leaves the old folder
    # in staging, from where the next run puts it back.
    aside = _aside(staged, destination)
    aside.parent.mkdir(exist_ok=True)
    destination.rename(aside)
    try:
        staged.rename(destination)
    except BaseException:
        aside.rename(destination)
        raise
