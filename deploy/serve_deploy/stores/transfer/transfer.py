"""Many files at once between here and a store: tried again, told as it goes, ended at once by Ctrl-C."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from serve_deploy.progress import Progress
from serve_deploy.stores.store import OnBytes, StoreUnreachableError

T = TypeVar("T")
# A file's work: what it is done with, and whom it tells how many bytes have moved.
Work = Callable[[T, OnBytes], None]
_ATTEMPTS, _FIRST_PAUSE_SECONDS = 5, 0.5
_TELL_SECONDS, _RATE_SECONDS = 0.25, 10.0
# From when on it is said that nothing moves.
_STILL_SECONDS = 5.0
_LEAVE_SECONDS = 2.0


class _Stopped(BaseException):
    """What ends a transfer in a thread when another has failed, or Ctrl-C came."""


class Tally:
    """Bytes that have moved, how fast lately, and what is left; safe to use from several threads."""

    def __init__(
        self, verb: str, total_bytes: int, progress: Progress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._verb, self._total, self._progress, self._clock = verb, total_bytes, progress, clock
        self._lock = threading.Lock()
        self._done = 0
        self._moved_at = clock()
        self._moved_last = 0
        self._moments: deque[tuple[float, int]] = deque([(self._moved_at, 0)])

    def add(self, count: int) -> None:
        """Count bytes, or take back those of an attempt that failed."""
        with self._lock:
            self._done += count

    def tell(self) -> None:
        """Say how far it is."""
        with self._lock:
            now, done = self._clock(), self._done
        self._moments.append((now, done))
        while len(self._moments) > 2 and self._moments[1][0] < now - _RATE_SECONDS:
            self._moments.popleft()
        then, before = self._moments[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        said = describe_progress(self._verb, done, self._total, rate)
        if done != self._moved_last:
            self._moved_last, self._moved_at = done, now
        if (still := now - self._moved_at) >= _STILL_SECONDS:
            said = f"{said}; nothing moved for {still:.0f} s"
        self._progress(said)


def describe_progress(verb: str, done_bytes: int, total_bytes: int, bytes_per_second: float) -> str:
    """How far a transfer is, its rate, and the time left."""
    said = f"{verb} {write_size(done_bytes)} of {write_size(total_bytes)}"
    if bytes_per_second <= 0:
        return said
    seconds = max(total_bytes - done_bytes, 0) / bytes_per_second
    minutes, rest = divmod(round(seconds), 60)
    left = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{said}, {write_size(bytes_per_second)}/s, {left} left"


def write_size(size: float) -> str:
    """A size in GB, MB or KB, or the bytes of less than one."""
    if 0 < size < 2**10:
        return f"{size:.0f} bytes"
    for unit, power in (("GB", 30), ("MB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:,.1f} {unit}"
    return f"{size / 2**10:,.0f} KB"


def transfer(
    items: Sequence[T],
    work: Work[T],
    *,
    concurrency: int,
    tally: Tally,
    sleep: Callable[[float], object] | None = None,
) -> None:
    """Do the work for every item, `concurrency` of them at a time; the first error ends all the others and is raised.

    What the store could not do just now is tried again with backoff.
    """
    stop = threading.Event()
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)

    def run() -> None:
        try:
            while not stop.is_set():
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    break
                _try_often(item, work, tally, stop, sleep or stop.wait)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where the transfer is waited for
            done.put(error)

    # Daemons: one that hangs in a connection must not keep Ctrl-C waiting.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(concurrency, len(items)))]
    try:
        for thread in threads:
            thread.start()
        _wait(done, len(threads), tally)
    finally:
        stop.set()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(deadline - time.monotonic(), 0))


def _wait(done: queue.SimpleQueue[BaseException | None], count: int, tally: Tally) -> None:
    while count:
        tally.tell()
        try:
            error = done.get(timeout=_TELL_SECONDS)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        count -= 1
    tally.tell()


def _try_often(item: T, work: Work[T], tally: Tally, stop: threading.Event, sleep: Callable[[float], object]) -> None:
    for attempt in range(_ATTEMPTS):
        moved = 0

        def on_bytes(count: int) -> None:
            nonlocal moved
            if stop.is_set():
                raise _Stopped
            moved += count
            tally.add(count)

        try:
            work(item, on_bytes)
            return
        except StoreUnreachableError:
            tally.add(-moved)
            if attempt + 1 == _ATTEMPTS or stop.is_set():
                raise
            sleep(_FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
