"""The CPU that the server uses over a period, where it runs on this machine."""

from __future__ import annotations

import os
import time
from functools import cache
from types import TracebackType

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.local_server import find_server, read_family

_find_once = cache(find_server)


class CpuMeter:
    """While its context lasts, measures the server's process and its children; `cores` is None where it is not here."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pid = _find_once(endpoint.host, endpoint.port)
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


def _cpu_seconds(pid: int) -> float | None:
    """Of the process and everything that descends from it; None once it has gone."""
    family = read_family(pid)
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in family.values())
    return ticks / os.sysconf("SC_CLK_TCK") if family else None
