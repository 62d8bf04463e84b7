"""Copy files and trees without reading them into memory."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

CopyRange = Callable[[int, int, int], int]
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


def _copy_range(source: int, target: int, count: int) -> int:
    if not hasattr(os, "copy_file_range"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return os.copy_file_range(source, target, count)


def copy_file(source: Path, target: Path, *, copy_range: CopyRange = _copy_range) -> None:
    """Copy a file's content, shared on disk where the file system can (reflink), and never through our memory."""
    with source.open("rb") as reader, target.open("xb") as writer:
        remaining = os.fstat(reader.fileno()).st_size
        while remaining > 0:
            try:
                copied = copy_range(reader.fileno(), writer.fileno(), min(remaining, 1 << 30))
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
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
