"""Several requests for one file at once, and never more bytes in memory than a budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from serve_deploy.stores.store import OnBytes

R = TypeVar("R")
_LOOK_SECONDS, _LEAVE_SECONDS = 0.1, 2.0


class _Stopped(BaseException):
    """What ends a part in one thread when another has failed."""


class ByteBudget:
    """Bytes that all transfers of a store may hold in memory together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._held = limit_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Wait until there is room; a part that is larger than the whole budget goes alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + count <= self._limit)
            self._held += count
        try:
            yield
        finally:
            with self._changed:
                self._held -= count
                self._changed.notify_all()


def in_threads(work: Callable[[OnBytes], R | None], on_bytes: OnBytes, count: int) -> list[R]:
    """Call `work` in that many threads until each has returned None, and return all else; the first error is raised.

    It ends the other threads when they next tell of bytes. They are daemons: one that hangs in a connection does not
    keep Ctrl-C waiting.
    """
    results: list[R] = []
    errors: list[BaseException] = []

    def tell(moved: int) -> None:
        if errors:
            raise _Stopped
        on_bytes(moved)

    def run() -> None:
        try:
            while not errors and (result := work(tell)) is not None:
                results.append(result)
        except BaseException as error:  # noqa: BLE001 - raised where the threads are waited for
            errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        while not errors and any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_LOOK_SECONDS)
    except BaseException as error:
        errors.append(error)
        raise
    finally:
        if errors:
            _leave(threads)
    if errors:
        raise errors[0]
    return results


def _leave(threads: list[threading.Thread]) -> None:
    deadline = time.monotonic() + _LEAVE_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
