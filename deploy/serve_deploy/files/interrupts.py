"""Steps that Ctrl-C must not leave half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end of a step that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    previous: dict[int, Any] = {}
    try:
        for number in _SIGNALS:
            previous[number] = signal.signal(number, lambda received, _frame: pending.append(received))
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)
        for received in pending[:1]:
            signal.raise_signal(received)
