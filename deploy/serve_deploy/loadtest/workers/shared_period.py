"""Closed loops whose users call several models by turns, however long each takes: a period for each model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from serve_deploy.loadtest.clients.exchange import Exchange, Slot
from serve_deploy.loadtest.workers.closed_period import ClosedPeriod, Quota


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

    def stop(self) -> None:
        """Send nothing more, wait for nothing; users who are at this model go nowhere else."""
        super().stop()
        self._turns.settle()

    def _free(self, now: float) -> None:
        self.in_flight -= 1
        self._turns.go_on(now)

    def _settle(self) -> None:
        self._turns.settle()
