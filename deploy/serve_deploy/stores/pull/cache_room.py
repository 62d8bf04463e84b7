"""How much the cache takes: snapshots that were used longest ago go, and none that a living process uses."""

from __future__ import annotations

import fcntl
import math
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.files.staging import folder_lock, try_lock
from serve_deploy.progress import Progress
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.manifests.manifests import manifest_path, stored_path
from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER
from serve_deploy.stores.store import StoredFile

_VARIABLE = "SERVE_CACHE_GB"
# Of the file system that it is on: five such tools leave each other room.
_SHARE = 0.2
# A snapshot that nobody asked for in so long is removed in any case.
_UNUSED_SECONDS = 30 * 24 * 3600.0
_PATH = re.compile(rf"{SNAPSHOTS_FOLDER}/([^/]+?)(?:\.json|/.*)")
# A folder for each snapshot that was asked for, which its users lock: commands lock the repository itself.
_HOLDS = "holds"
_held: dict[Path, int] = {}


@dataclass(frozen=True)
class _Cached:
    """A snapshot, or what an interrupted run left of one; `used` is when it was last asked for, or written to."""

    size_bytes: int
    used: float


def read_bound() -> float | None:
    """How many bytes the user lets the cache take; None where nothing is said, UsageError where that is no size."""
    text = os.environ.get(_VARIABLE, "")
    if not text:
        return None
    with suppress(ValueError):
        if 0 <= (size := float(text)) < math.inf:
            return size * 2**30
    raise UsageError(f"{_VARIABLE}={text} is not a size", hint="write a number of GB, such as 50")


def hold(folder: Path, identity: str) -> None:
    """Keep a snapshot in a cache as long as this process lives; OSError where nothing can be written there."""
    mark = folder / _HOLDS / identity
    mark.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(mark.parent):
        mark.mkdir(exist_ok=True)
        handle = os.open(mark, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    # The mark may have been removed by hand, and be another one now.
    if (before := _held.pop(mark, None)) is not None:
        os.close(before)
    _held[mark] = handle


def make_room(cache: LocalStore, folder: Path, bound: float | None, progress: Progress) -> None:
    """Remove what is not used, the oldest first, until all together takes no more bytes than that, or than a share."""
    cached = _list_cached(cache)
    bound = shutil.disk_usage(folder).total * _SHARE if bound is None else bound
    total, old = sum(each.size_bytes for each in cached.values()), time.time() - _UNUSED_SECONDS
    for identity, each in sorted(cached.items(), key=lambda item: item[1].used):
        if (each.used < old or total > bound) and _remove(cache, folder, identity):
            progress(f"removed snapshot {identity} from the cache")
            total -= each.size_bytes


def _list_cached(cache: LocalStore) -> dict[str, _Cached]:
    files: dict[str, list[StoredFile]] = defaultdict(list)
    for path, file in cache.list_files(f"{SNAPSHOTS_FOLDER}/").items():
        if found := _PATH.fullmatch(path):
            files[found[1]].append(file)
    return {identity: _describe(identity, listed) for identity, listed in files.items()}


def _describe(identity: str, files: Sequence[StoredFile]) -> _Cached:
    # Whoever asks for a snapshot touches its manifest.
    manifest = [file for file in files if file.path == manifest_path(identity)]
    used = max(file.modified_seconds or 0.0 for file in manifest or files)
    return _Cached(sum(file.size_bytes for file in files), used)


def _remove(cache: LocalStore, folder: Path, identity: str) -> bool:
    """Whether it went; not where a process holds it, or that cannot be known."""
    mark = folder / _HOLDS / identity
    with folder_lock(mark.parent):
        mark.mkdir(exist_ok=True)
        lock = try_lock(mark)
        if lock is None:
            return False
        try:
            cache.delete([manifest_path(identity)])
            shutil.rmtree(folder / stored_path(identity, ""), ignore_errors=True)
            mark.rmdir()
        finally:
            os.close(lock)
    return True
