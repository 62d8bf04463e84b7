"""Move a folder into its place at once: readers see the old one or the new one, whole."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from serve_deploy.errors import DestinationError

# Whether the rename was done: False where the system or the file system does not know these flags.
Rename = Callable[[Path, Path, int], bool]
# Below the staged folder's parent: where an old folder waits while the new one takes its place.
_REPLACED = "replaced"
# In the staging folder, from before the first rename until after the last.
JOURNAL = "moves.json"
_NO_REPLACE, EXCHANGE = 1, 2
_AT_FDCWD = -100
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_SYNCS_AT_ONCE = 8


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

    With `replace` the old folder ends up in the staging folder, which removes it.
    """
    move_all([(staged, destination, replace)], rename=rename)


def move_all(moves: Sequence[tuple[Path, Path, bool]], *, rename: Rename = rename_with_flags) -> None:
    """Move folders of one staging folder to their destinations, each with whether it replaces one; all or none.

    An error takes all of them back. After a kill, `undo_moves` does: the journal goes when the last is in its place.
    """
    if not moves:
        return
    folder = moves[0][0].parent
    with interrupts_deferred():
        _write_journal(folder, moves)
        try:
            for staged, destination, replace in moves:
                if not replace:
                    _rename_new(staged, destination, rename)
                elif not rename(staged, destination, EXCHANGE):
                    _swap_in_two_steps(staged, destination)
        except BaseException:
            undo_moves(folder, rename=rename)
            raise
        _remove_journal(folder)


def undo_moves(folder: Path, *, rename: Rename = rename_with_flags) -> None:
    """Take back the moves in a staging folder's journal, as far as they were made; it may be killed and run again.

    DestinationError where something else stands in a destination: then nothing more is moved, and nothing removed.
    """
    journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    for name, destination, inode in reversed(journal["moves"]):
        _take_back(folder / name, folder / journal["place"] / destination, inode, rename)
    _remove_journal(folder)


def _write_journal(folder: Path, moves: Sequence[tuple[Path, Path, bool]]) -> None:
    place = os.path.relpath(moves[0][1].parent.resolve(), folder.resolve())
    entries = [(staged.name, destination.name, staged.stat().st_ino) for staged, destination, _replace in moves]
    for staged, _destination, _replace in moves:
        _sync_tree(staged)
    draft = folder / f"{JOURNAL}.draft"
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"place": place, "moves": entries}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(folder / JOURNAL)
    flush_to_disk(folder)


def _remove_journal(folder: Path) -> None:
    (folder / JOURNAL).unlink()
    flush_to_disk(folder)


def _sync_tree(folder: Path) -> None:
    """Files reach the disk before they take the place of others, for a power cut."""
    paths = (os.path.join(path, name) for path, _folders, files in os.walk(folder) for name in (*files, ""))
    # Many at once share the disk's waits: one after another took longer than receiving a repository did.
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(flush_to_disk, (path for path in paths if not os.path.islink(path))))


def flush_to_disk(path: Path | str) -> None:
    """Have a file's content, or a folder's names, on the disk before anything relies on it, where that is possible.

    OSError where the disk is full or broken, which some file systems say only now.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise


def _take_back(staged: Path, destination: Path, inode: int, rename: Rename) -> None:
    """The old folder back in its place, the new one back at `staged`; which is which only the inode tells."""

    def is_new(path: Path) -> bool:
        return path.exists() and path.stat().st_ino == inode

    aside = _aside(staged, destination)
    exchanged = staged.exists() and not is_new(staged)
    if (exchanged or aside.exists()) and destination.exists() and not is_new(destination):
        raise DestinationError(
            f"{destination} was changed after a run that replaced it was killed",
            hint=f"its old folder is in {staged.parent.resolve()}: keep what you need, and remove that folder",
        )
    if exchanged:
        if destination.exists() and rename(staged, destination, EXCHANGE):
            return
        aside.parent.mkdir(exist_ok=True)
        staged.rename(aside)
    if is_new(destination):
        destination.rename(staged)
    if aside.exists():
        aside.rename(destination)


def _aside(staged: Path, destination: Path) -> Path:
    return staged.parent / _REPLACED / destination.name


def _rename_new(staged: Path, destination: Path, rename: Rename) -> None:
    with suppress(FileExistsError):
        if rename(staged, destination, _NO_REPLACE):
            return
        if not destination.exists():
            staged.rename(destination)
            return
    raise DestinationError(f"{destination} appeared during this run", hint="another run may have written it; try again")


def _swap_in_two_steps(staged: Path, destination: Path) -> None:
    # For file systems that cannot exchange two names at once.
    aside = _aside(staged, destination)
    aside.parent.mkdir(exist_ok=True)
    destination.rename(aside)
    staged.rename(destination)
