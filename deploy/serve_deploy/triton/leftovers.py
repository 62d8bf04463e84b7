"""The folder that Triton's Python backend makes in /tmp for packed environments, and leaves when it is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Whatever TMPDIR says.
_TEMPORARY = Path("/tmp")  # noqa: S108
# A process's start is known to the clock tick, a folder's to the file system's.
_CLOCKS_SECONDS = 1.0


def remove_environment_folders(since: float, temporary: Path = _TEMPORARY, oldest: float | None = None) -> None:
    """Remove that of a server which has ended, started `since`, and those that killed ones left.

    Nothing names a folder's maker. It is the first of our user's since the server's start; those from before `oldest`,
    the start of the first Triton that still runs, are nobody's. A folder in use is not empty, and stays.
    """
    made = sorted(_own_folders(temporary))
    first_running = min(_running_since(), default=float("inf")) if oldest is None else oldest
    for created, folder in made:
        if created < first_running - _CLOCKS_SECONDS:
            with suppress(OSError):
                folder.rmdir()
    since_start = [folder for created, folder in made if created >= since and folder.exists()]
    if since_start:
        with suppress(OSError):
            since_start[0].rmdir()


def _own_folders(temporary: Path) -> Iterator[tuple[float, Path]]:
    for folder in temporary.glob("python_env_*"):
        with suppress(OSError):
            status = folder.stat()
            if status.st_uid == os.getuid():
                yield status.st_ctime, folder


def _running_since() -> Iterator[float]:
    """When each Triton that runs on this machine was started."""
    booted = next(
        float(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
    )
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if name.endswith("(tritonserver"):
                yield booted + int(rest.split()[19]) / os.sysconf("SC_CLK_TCK")
