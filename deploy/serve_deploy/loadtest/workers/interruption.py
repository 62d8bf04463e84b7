"""Ctrl-C and SIGTERM as something to wait for, so that a period can end in order and be reported."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within its context the first signal is noted, and readable from `file`; a second one interrupts as usual."""

    def __init__(self) -> None:
        self.happened = False
        self.file, self._signalled = os.pipe()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Elsewhere than on the main thread, signals are somebody else's concern.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in INTERRUPTS}
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._restore()
        os.close(self.file)
        os.close(self._signalled)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.happened = True
        os.write(self._signalled, b".")
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
