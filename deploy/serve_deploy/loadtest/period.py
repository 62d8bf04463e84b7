"""Closed and open loops: who sends when, over the slots of an exchange."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from serve_deploy.arrivals.schedule import Schedule
from serve_deploy.loadtest.clients.alarm import open_alarm
from serve_deploy.loadtest.clients.exchange import Exchange, Slot

_RETRY_SECONDS = 0.1
_MOST_SENT_AT_ONCE = 32
_LONGEST_SLEEP_SECONDS = 3600.0
# How finely the waits of requests that were never sent are told apart.
_SLICES = 64


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


@dataclass
class Turns:
    """Users who call several models by turns: `order` has, by number, whose turn it is, and then again."""

    users: int
    order: Sequence[int]
    quota: Quota = field(default_factory=lambda: Quota(0))
    _members: dict[int, SharedPeriod] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.cycle(self.order)

    def join(self, number: int, period: SharedPeriod) -> None:
        """Take in a model's period; with the last one, all users send their first requests."""
        self._members[number] = period
        self.quota.left += period.quota.left
        period.quota = self.quota
        if len(self._members) == len(set(self.order)):
            for _ in range(self.users):
                self.go_on(monotonic())
            self.settle()

    def go_on(self, now: float) -> None:
        """A user is free, and calls the next model, or leaves."""
        period = self._members[next(self._numbers)]
        if period.is_over(now):
            self.settle()
        else:
            period.call(now)

    def settle(self) -> None:
        """End all periods at once, when no user is left: then the server's account of each covers all requests."""
        going_on = [each for each in self._members.values() if not each.done.done()]
        if not any(each.in_flight for each in going_on):
            for each in going_on:
                each.done.set_result(None)


class SharedPeriod(ClosedPeriod):
    """What the users of `turns` send to one of their models, each as soon as they are answered."""

    def __init__(self, exchange: Exchange, turns: Turns, number: int, *, end: float, requests: int | None) -> None:
        super().__init__(exchange, 0, end=end, requests=requests)
        self._turns, self._number = turns, number
        self._idle = list(exchange.slots)

    async def start(self) -> None:
        """Send the first requests, if the other models are ready too."""
        self._turns.join(self._number, self)

    def call(self, now: float) -> None:
        """Send a request to this model."""
        self.in_flight += 1
        self.quota.left -= 1
        while self._idle:
            slot = self._idle.pop()
            if slot.is_open:
                slot.send(now)
                return
        self._begin(self._replace(now))

    def next(self, slot: Slot, now: float) -> None:
        """The slot's user is free."""
        if slot.is_open:
            self._idle.append(slot)
            self._free(now)
        else:
            # Not at once: where the server is gone, the next model's slot is broken too, and so on.
            asyncio.get_running_loop().call_soon(self._free, now)

    def _free(self, now: float) -> None:
        self.in_flight -= 1
        self._turns.go_on(now)

    def _settle(self) -> None:
        self._turns.settle()


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
