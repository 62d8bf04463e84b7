"""Open loops: every request of a schedule is sent when it is due, over the slots of an exchange."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from time import monotonic
from typing import Any

import numpy as np

from serve_deploy.arrivals.schedule import Schedule
from serve_deploy.loadtest.clients.alarm import open_alarm
from serve_deploy.loadtest.clients.exchange import Exchange, Slot

_MOST_SENT_AT_ONCE = 32
_LONGEST_SLEEP_SECONDS = 3600.0
# How finely the waits of requests that were never sent are told apart.
_SLICES = 64


class OpenPeriod:
    """Sends every request of a schedule when it is due, whatever the others do; without a free slot it waits.

    What waits stays in the schedule, first in, first out. It is given up, and noted as never sent, when it has waited
    for the timeout, or at `cutoff`: the schedule ends at `end`, and what is late by then has until `cutoff`.
    """

    def __init__(
        self,
        exchange: Exchange,
        schedule: Schedule,
        *,
        start: float,
        end: float,
        cutoff: float,
        connections: int,
        keep_together: bool,
    ) -> None:
        self._exchange = exchange
        self._schedule = schedule
        self._start, self._end, self._cutoff = start, end, cutoff
        self._connections = connections
        self._due: deque[float] = deque()
        self._idle = deque(exchange.slots)
        # Round all connections, or, where each is in the middle of a sequence, as few as possible.
        self._take_idle = self._idle.pop if keep_together else self._idle.popleft
        # Each of these waits for a connection that is being opened.
        self._waiting: deque[float] = deque()
        self._opening = 0
        self.ran_out_of_connections = False
        self.in_flight = 0
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm = open_alarm(asyncio.get_running_loop(), self._pump)
        # No alarm is set while what is due waits for a slot to be free.
        self._is_blocked = False
        self._is_closed = False
        # Now and not at the start: the first arrivals cost milliseconds where the code has not run before.
        self._refill()

    async def start(self) -> None:
        """Wait for the first request to come due."""
        self._pump()

    def _refill(self) -> None:
        while not self._due:
            chunk = next(self._schedule, None)
            if chunk is None:
                return
            self._due.extend((self._start + chunk).tolist())

    def _take(self) -> float:
        intended = self._due.popleft()
        if not self._due:
            self._refill()
        return intended

    def _pump(self) -> None:
        # Not more at a time: a generator that is behind must read replies too.
        for _ in range(_MOST_SENT_AT_ONCE):
            if not self._due or self._due[0] > monotonic():
                break
            if not self._place_next():
                self._is_blocked = True
                return
        if self._due:
            self._wake_at(self._due[0])
        else:
            self._settle()

    def _wake_at(self, when: float) -> None:
        self._is_blocked = False
        if not self._is_closed:
            self._alarm.set(min(when, monotonic() + _LONGEST_SLEEP_SECONDS))

    def _place_next(self) -> bool:
        """Send the next request, or open a connection for it; False where there may be no further one."""
        while self._idle:
            slot = self._take_idle()
            if slot.is_open:
                self.in_flight += 1
                slot.send(self._take())
                return True
        if len(self._exchange.slots) + self._opening >= self._connections:
            self.ran_out_of_connections = True
            return False
        self._waiting.append(self._take())
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _open(self) -> None:
        try:
            slot = await self._exchange.open_slot()
        except ConnectionError as error:
            self._opening -= 1
            if self._waiting:
                self._exchange.fail_unsent(self._waiting.popleft(), "connect", str(error))
            self._wake_at(0)
            self._settle()
        else:
            self._opening -= 1
            self.in_flight += 1
            self.next(slot, monotonic())

    def next(self, slot: Slot, now: float) -> None:
        """Send what waits, or rest the slot."""
        if slot.is_open:
            if self._waiting:
                slot.send(self._waiting.popleft())
                return
            if self._due and self._due[0] <= now:
                slot.send(self._take())
                if self._is_blocked and self._due and self._due[0] > now:
                    self._wake_at(self._due[0])
                return
            self._idle.append(slot)
        else:
            self._wake_at(0)  # there is room for another connection
        self.in_flight -= 1
        if not self._due:
            self._settle()

    def rest(self, slot: Slot, _until: float) -> None:
        """The slot is free for others: the schedule says when the next request is sent."""
        self.next(slot, monotonic())

    def _settle(self) -> None:
        if not (self._due or self._waiting or self.in_flight or self.done.done()):
            self.done.set_result(None)

    def expire(self, now: float) -> None:
        """Give up what has waited too long to be sent."""
        if now >= self._cutoff:
            self._give_up(self._end, now)
        else:
            self._give_up(now - self._exchange.timeout_seconds, now)
        if self._is_blocked and self._due:
            self._wake_at(self._due[0])
        if not self._due:
            self._settle()

    def _give_up(self, before: float, now: float) -> None:
        """Note everything that was due before then as never sent, with the time that it has waited at least."""
        note = self._exchange.note_never_sent
        reached = self._due[0] if self._due else before
        for queue in (self._waiting, self._due):
            while queue and queue[0] < before:
                note(now - queue.popleft(), 1)
        if self._due or reached >= before:
            return
        # Whatever the rate, the rest is counted and not enumerated.
        for edge in np.linspace(reached, before, _SLICES + 1)[1:].tolist():
            note(now - edge, self._schedule.skip(edge - self._start))
        self._refill()

    def stop(self) -> None:
        """Send nothing more, wait for nothing."""
        now = monotonic()
        self._give_up(min(now, self._end), now)
        self._due.clear()
        self._schedule.skip(math.inf)
        for task in list(self._tasks):
            task.cancel()
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        """Stop the alarm."""
        self._is_closed = True
        self._alarm.close()
