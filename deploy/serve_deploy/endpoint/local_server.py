"""The processes of a Triton that runs on this machine; Linux says so in /proc."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"
# A proxy or a tunnel may listen in the place of a server that runs elsewhere.
_LIBRARY = b"libtritonserver"


def find_server(host: str, port: int) -> int | None:
    """The process of the Triton that listens on a port of this machine; None where there is none that we may see."""
    if not _is_here(host):
        return None
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    return next((pid for pid in list_pids() if _holds(pid, sockets) and _is_triton(pid)), None)


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


def list_pids() -> list[int]:
    """Every process of this machine."""
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


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command: state, parent, group and so on; empty where it is gone."""
    with suppress(OSError):
        # The second field, the command in parentheses, may itself hold spaces and parentheses.
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def read_family(pid: int) -> Mapping[int, list[str]]:
    """What `read_stat` says of a process and its descendants; empty once it ended."""
    fields = {each: stat for each in list_pids() if (stat := read_stat(each))}
    children: dict[int, list[int]] = {}
    for each, stat in fields.items():
        children.setdefault(int(stat[1]), []).append(each)
    if pid not in fields:
        return {}
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return {member: fields[member] for member in family}


def read_memory_bytes(pid: int) -> int | None:
    """Memory of a process, its part of what processes share counted once over all; None where it cannot be seen."""
    with suppress(OSError, ValueError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def read_command(pid: int) -> list[str]:
    """The words of a process's command line; empty where it cannot be seen."""
    with suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    return []
