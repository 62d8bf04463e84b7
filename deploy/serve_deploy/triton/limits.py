"""The limits of `ulimit` that a Triton can run into, and how to say so."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from serve_deploy.errors import TritonStartError

# More makes programs slow that close every possible file before they start another one.
_WANTED_FILES = 65_536


@dataclass(frozen=True)
class _Limit:
    flag: str
    number: int
    what: str
    unit: int
    # Seen with server 2.51 and one model: 61 files, 71 threads and 1.6 GB; each instance takes more.
    least: int
    enough: int
    signs: re.Pattern[str]

    def is_below(self, value: int, read_limit: ReadLimit) -> bool:
        soft = self.allowed(read_limit)
        # The kernel does not count the processes of root.
        exempt = self.number == resource.RLIMIT_NPROC and os.geteuid() == 0
        return soft != resource.RLIM_INFINITY and soft < value * self.unit and not exempt

    def allowed(self, read_limit: ReadLimit) -> int:
        """The limit that a server runs under."""
        soft, hard = read_limit(self.number)
        # That of files is raised for it.
        return hard if self.number == resource.RLIMIT_NOFILE else soft

    def describe(self, read_limit: ReadLimit) -> tuple[str, str]:
        """What is allowed, and the command that allows enough."""
        allowed = self.allowed(read_limit) // self.unit
        return f"ulimit {self.flag} allows {allowed:,} {self.what} here", f"ulimit {self.flag} {self.enough}"


ReadLimit = Callable[[int], tuple[int, int]]
_LIMITS = (
    _Limit("-n", resource.RLIMIT_NOFILE, "open files", 1, 96, 1024, re.compile("Too many open files")),
    _Limit(
        "-u", resource.RLIMIT_NPROC, "processes and threads", 1, 80, 4096,
        re.compile("Resource temporarily unavailable|can't start new thread|pthread_create"),
    ),
    _Limit(
        "-v", resource.RLIMIT_AS, "KiB of address space", 1024, 2 << 20, 8 << 20,
        re.compile("bad_alloc|Cannot allocate memory|failed to map segment|MemoryError"),
    ),
)  # fmt: skip


def raise_file_limit(pid: int) -> None:
    """Let a process of ours open as many files as its hard limit allows, up to 65,536."""
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))


def check_limits(read_limit: ReadLimit = resource.getrlimit) -> None:
    """TritonStartError where a limit is below what a Triton with one small model needs: some make it hang."""
    for limit in _LIMITS:
        if limit.is_below(limit.least, read_limit):
            allowed, command = limit.describe(read_limit)
            raise TritonStartError(
                f"Triton cannot start: {allowed}, too few for any model", hint=f"raise it: {command}"
            )


def name_shortage(log: str, read_limit: ReadLimit = resource.getrlimit, *, said: bool = False) -> str | None:
    """The limit that a server ran into, and what to raise it to.

    It is the one that the log speaks of; else, unless it must be `said`, the first that is low.
    """
    low = [limit for limit in _LIMITS if limit.is_below(limit.enough, read_limit)]
    named = [limit for limit in low if limit.signs.search(log)]
    for limit in named if named or said else low:
        allowed, command = limit.describe(read_limit)
        return f"{allowed}, which can be too few: raise it with {command}"
    return None
