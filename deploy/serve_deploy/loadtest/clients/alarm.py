"""Wake the loop at absolute times of the monotonic clock: timerfd under Linux, the loop's own timer elsewhere."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_ABSOLUTE = 1


class Alarm(Protocol):
    """Calls back once for each `set`, at or after that time."""

    def set(self, when: float) -> None: ...
    def close(self) -> None: ...


def open_alarm(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Alarm:
    """The most punctual alarm that there is here."""
    if sys.platform == "linux":
        try:
            return TimerfdAlarm(loop, callback)
        except (OSError, AttributeError):
            pass  # an old kernel or C library, or a sandbox that forbids the call
    return LoopAlarm(loop, callback)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class TimerfdAlarm:
    """The kernel's timer as a file: not rounded to the loop's milliseconds. os.timerfd_create needs Python 3.13."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._set_time = library.timerfd_settime
        self._file = library.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._timer = _Timer()
        self._reference = ctypes.byref(self._timer)
        self._loop = loop
        loop.add_reader(self._file, self._ring, callback)

    def set(self, when: float) -> None:
        seconds = int(when)
        self._timer.value.seconds = seconds
        # A value of zero would disarm it.
        self._timer.value.nanoseconds = int((when - seconds) * 1e9) or 1
        self._set_time(self._file, _ABSOLUTE, self._reference, None)

    def _ring(self, callback: Callable[[], None]) -> None:
        os.read(self._file, 8)
        callback()

    def close(self) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)


class LoopAlarm:
    """call_later, which uvloop rounds to milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        self.close()
        self._timer = self._loop.call_later(max(when - time.monotonic(), 0), self._callback)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
