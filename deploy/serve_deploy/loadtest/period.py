"""Closed and open loops: who sends when, over the slots of an exchange."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.loadtest.clients.alarm import open_alarm
from serve_deploy.loadtest.clients.exchange import Exchange, Slot
from serve_deploy.loadtest.recorder import NEVER_SENT, TIMED_OUT

_RETRY_SECONDS = 0.1
_MOST_SENT_AT_ONCE = 32


class ClosedPeriod:
    """`concurrency` users: each sends its next request when its last one ended, until the deadline or the quota."""

    def __init__(self, exchange: Exchange, concurrency: int, *, end: float, requests: int | None) -> None:
        self._exchange = exchange
        self._concurrency = concurrency
        self._end = end
        self._left = float("inf") if requests is None else requests
        self.in_flight = 0
        self.done = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Send the first requests."""
        for slot in list(self._exchange.slots)[: self._concurrency]:
            self.in_flight += 1
            self.next(slot, monotonic())
        self._settle()

    def next(self, slot: Slot, now: float) -> None:
        """Send the slot's next request, or end its part."""
        if now >= self._end or self._left <= 0:
            self._leave()
        elif slot.is_open:
            self._left -= 1
            slot.send(now)
        else:
            self._left -= 1
            task = asyncio.get_running_loop().create_task(self._replace(now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _leave(self) -> None:
        self.in_flight -= 1
        self._settle()

    def _settle(self) -> None:
        if not self.in_flight and not self.done.done():
            self.done.set_result(None)

    async def _replace(self, intended: float) -> None:
        while True:
            try:
                slot = await self._exchange.open_slot()
            except ConnectionError as error:
                self._exchange.fail_unsent(intended, "connect", str(error))
            else:
                slot.send(intended)
                return
            await asyncio.sleep(_RETRY_SECONDS)
            intended = monotonic()
            if intended >= self._end or self._left <= 0:
                self._leave()
                return
            self._left -= 1

    def expire(self, now: float) -> None:
        """Nothing waits for a slot here."""

    def unsent(self) -> list[float]:
        """Nothing waits for a slot here."""
        return []

    def stop(self) -> None:
        """Send nothing more, wait for nothing."""
        self._end = 0.0
        for task in list(self._tasks):
            task.cancel()
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        """Nothing is held."""


class OpenPeriod:
    """Sends every request of a schedule when it is due, whatever the others do; without a free slot it waits."""

    def __init__(
        self,
        exchange: Exchange,
        chunks: Iterator[NDArray[np.float64]],
        *,
        start: float,
        connections: int,
        keep_together: bool,
    ) -> None:
        self._exchange = exchange
        self._start = start
        self._connections = connections
        self._chunks = chunks
        self._due: deque[float] = deque()
        self._idle = deque(exchange.slots)
        # Round all connections, or, where each is in the middle of a sequence, as few as possible.
        self._take_idle = self._idle.pop if keep_together else self._idle.popleft
        self._waiting: deque[float] = deque()
        self._opening = 0
        self.ran_out_of_connections = False
        self.in_flight = 0
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm = open_alarm(asyncio.get_running_loop(), self._pump)

    async def start(self) -> None:
        """Wait for the first request to come due."""
        self._refill()
        self._pump()

    def _refill(self) -> None:
        while not self._due:
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            self._due.extend((self._start + chunk).tolist())

    def _pump(self) -> None:
        due = self._due
        # Not more at a time: a generator that is behind must read replies too.
        for _ in range(_MOST_SENT_AT_ONCE):
            if not due or due[0] > monotonic():
                break
            self._send(due.popleft())
            if not due:
                self._refill()
        if due:
            self._alarm.set(due[0])
        else:
            self._settle()

    def _send(self, intended: float) -> None:
        while self._idle:
            slot = self._take_idle()
            if slot.is_open:
                self.in_flight += 1
                slot.send(intended)
                return
        self._waiting.append(intended)
        if len(self._exchange.slots) + self._opening >= self._connections:
            self.ran_out_of_connections = True
            return
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            slot = await self._exchange.open_slot()
        except ConnectionError as error:
            self._opening -= 1
            if self._waiting:
                self._exchange.fail_unsent(self._waiting.popleft(), "connect", str(error))
            self._settle()
        else:
            self._opening -= 1
            self.in_flight += 1
            self.next(slot, monotonic())

    def next(self, slot: Slot, _now: float) -> None:
        """Send what waits, or rest the slot."""
        if self._waiting and slot.is_open:
            slot.send(self._waiting.popleft())
            return
        self.in_flight -= 1
        if slot.is_open:
            self._idle.append(slot)
        elif self._waiting:
            # The requests that counted on this connection need another.
            self._send(self._waiting.popleft())
        if not self._due:
            self._settle()

    def _settle(self) -> None:
        if not (self._due or self._waiting or self.in_flight or self.done.done()):
            self.done.set_result(None)

    def expire(self, now: float) -> None:
        """Requests that waited too long for a connection have timed out."""
        while self._waiting and now - self._waiting[0] > self._exchange.timeout_seconds:
            self._exchange.recorder.record(self._waiting.popleft(), NEVER_SENT, now, TIMED_OUT)
        if not self._due:
            self._settle()

    def unsent(self) -> list[float]:
        """Intended sends of the requests that came due and still wait for a connection."""
        return list(self._waiting)

    def stop(self) -> None:
        """Send nothing more, wait for nothing."""
        self._due.clear()
        self._chunks = iter(())
        for task in list(self._tasks):
            task.cancel()
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        """Stop the alarm."""
        self._alarm.close()
