"""Copy files and trees without reading them into memory."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

CopyRange = Callable[[int, int, int], int]
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


def _refuse(_source: int, _target: int, _count: int) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


_COPY_RANGE: CopyRange = getattr(os, "copy_file_range", _refuse)


def copy_file(source: Path, target: Path, *, copy_range: CopyRange = _COPY_RANGE) -> None:
    """Copy a file's content, shared on disk where the file system can (reflink), and never through our memory."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            while copy_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            shutil.copyfileobj(reader, writer, 1 << 20)


def link_tree(source: Path, target: Path, *, follow: bool = False) -> None:
    """Repeat a file or folder under another name by hard links, or copies where links are not possible.

    Symbolic links are repeated, which lead elsewhere from another folder, or with `follow` what they lead to.
    """
    link = _link_or_copy_content if follow else _link_or_copy
    if source.is_dir() and (follow or not source.is_symlink()):
        shutil.copytree(source, target, symlinks=not follow, copy_function=link)
    else:
        link(str(source), str(target))


def _link_or_copy_content(source: str, target: str) -> None:
    # A link may lead nowhere.
    if os.path.exists(source):
        _link_or_copy(os.path.realpath(source), target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
