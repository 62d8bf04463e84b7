"""The CPU that the server uses over a period, where it runs on this machine; Linux says so in /proc."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

from serve_deploy.endpoint.address import Endpoint

_PROC = Path("/proc")
_LISTEN = "0A"
# A proxy or a tunnel may listen in the place of a server that runs elsewhere.
_LIBRARY = b"libtritonserver"


class CpuMeter:
    """While its context lasts, measures the server's process and its children; `cores` is None where it is not here."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pid = find_server(endpoint.host, endpoint.port)
        self.cores: float | None = None

    def __enter__(self) -> CpuMeter:
        self._before, self._start = self._read(), time.monotonic()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        after, seconds = self._read(), time.monotonic() - self._start
        if self._before is not None and after is not None and seconds > 0:
            self.cores = max(after - self._before, 0.0) / seconds

    def _read(self) -> float | None:
        return None if self._pid is None else _cpu_seconds(self._pid)


@cache
def find_server(host: str, port: int) -> int | None:
    """The process of the Triton that listens on a port of this machine; None where there is none that we may see."""
    if not _is_here(host):
        return None
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    return next((pid for pid in _pids() if _holds(pid, sockets) and _is_triton(pid)), None)


def _is_here(host: str) -> bool:
    with suppress(OSError):
        family, kind, _, _, (address, *_) = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind((address, 0))  # only an address of this machine can be bound
            return True
    return False


def _listening(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.glob("[0-9]*")]


def _holds(pid: int, sockets: set[str]) -> bool:
    folder = _PROC / str(pid) / "fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):  # it may be closed by now
                if os.readlink(folder / name) in sockets:
                    return True
    return False


def _is_triton(pid: int) -> bool:
    with suppress(OSError):
        return _LIBRARY in (_PROC / str(pid) / "maps").read_bytes()
    return False


def _cpu_seconds(pid: int) -> float | None:
    """Of the process and everything that descends from it; None once it has gone."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for each in _pids():
        with suppress(OSError):
            # The second field, the command in parentheses, may itself hold spaces and parentheses.
            fields = (_PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
            ticks[each] = int(fields[11]) + int(fields[12])
            children.setdefault(int(fields[1]), []).append(each)
    if pid not in ticks:
        return None
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return sum(ticks[member] for member in family) / os.sysconf("SC_CLK_TCK")
