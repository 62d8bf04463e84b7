"""Closed loops: who sends when, over the slots of an exchange; each user as soon as they are answered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.exchange import Exchange, Slot

_RETRY_SECONDS = 0.1


@dataclass
class Quota:
    """The requests that may still be sent."""

    left: float


class ClosedPeriod:
    """`concurrency` users: each sends its next request when its last one ended, until the deadline or the quota.

    A user who thinks before the next turn of a conversation has nothing in flight.
    """

    def __init__(self, exchange: Exchange, concurrency: int, *, end: float, requests: int | None) -> None:
        self._exchange = exchange
        self._concurrency = concurrency
        self._end = end
        self.quota = Quota(math.inf if requests is None else requests)
        self.in_flight = 0
        self._thinking = 0
        self.done = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Send the first requests; connections that the warm-up lost are opened again."""
        slots = list(self._exchange.slots)[: self._concurrency]
        for slot in slots:
            self.in_flight += 1
            self.next(slot, monotonic())
        for _ in range(int(min(self._concurrency - len(slots), self.quota.left))):
            self.in_flight += 1
            self.quota.left -= 1
            self._begin(self._replace(monotonic()))
        self._settle()

    def next(self, slot: Slot, now: float) -> None:
        """Send the slot's next request, or end its part."""
        if self.is_over(now):
            self._leave()
        elif slot.is_open:
            self.quota.left -= 1
            slot.send(now)
        else:
            self.quota.left -= 1
            self._begin(self._replace(now))

    def rest(self, slot: Slot, until: float) -> None:
        """Let the slot's user think until then, unless the period is over by that time."""
        if self.is_over(until):
            self._leave()
        else:
            self._begin(self._think(slot, until))

    def is_over(self, now: float) -> bool:
        """Whether nothing more is sent."""
        return now >= self._end or self.quota.left <= 0

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _think(self, slot: Slot, until: float) -> None:
        self.in_flight, self._thinking = self.in_flight - 1, self._thinking + 1
        # A loop's own timer may ring up to a millisecond early.
        while (left := until - monotonic()) > 0:
            await asyncio.sleep(left)
        self.in_flight, self._thinking = self.in_flight + 1, self._thinking - 1
        self.next(slot, monotonic())

    def _leave(self) -> None:
        self.in_flight -= 1
        self._settle()

    def _settle(self) -> None:
        if not (self.in_flight or self._thinking or self.done.done()):
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
            if self.is_over(intended):
                self._leave()
                return
            self.quota.left -= 1

    def expire(self, now: float) -> None:
        """Nothing waits for a slot here."""

    def stop(self) -> None:
        """Send nothing more, wait for nothing."""
        self._end = 0.0
        for task in list(self._tasks):
            task.cancel()
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        """Nothing is held."""
