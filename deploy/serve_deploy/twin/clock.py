"""The events of a simulation in the order of their times, and what is known of every request."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

Action = Callable[[float, Any], None]
Ended = Callable[[float, int, bool], None]


class Clock:
    """Actions that are due; those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Action, Any]] = []
        self._order = count().__next__

    def at(self, time: float, action: Action, argument: Any = None) -> None:
        """Call `action(time, argument)` at a time, seconds from the start."""
        heapq.heappush(self._due, (time, self._order(), action, argument))

    def run(self, arrivals: Iterable[tuple[float, int, Action]]) -> None:
        """Let everything happen: arrivals (time, request, action), ascending, behind what is due at their time."""
        due, pop = self._due, heapq.heappop
        for time, request, arrive in arrivals:
            while due and due[0][0] <= time:
                now, _, action, argument = pop(due)
                action(now, argument)
            arrive(time, request)
        while due:
            now, _, action, argument = pop(due)
            action(now, argument)


class Requests:
    """All requests, by number: when each entered its queue and was answered, its priority, who waits for its end."""

    def __init__(self) -> None:
        self.entered: list[float] = []
        self.answered: dict[int, float] = {}
        self.priorities: dict[int, int] = {}
        self.waiting_for: dict[int, Ended] = {}

    def add(self, entered: float, ended: Ended | None = None, priority: int = 0) -> int:
        """A new request's number."""
        number = len(self.entered)
        self.entered.append(entered)
        if ended is not None:
            self.waiting_for[number] = ended
        if priority:
            self.priorities[number] = priority
        return number

    def end(self, now: float, numbers: Iterable[int], succeeded: bool = True) -> None:
        """Tell whoever waits for these."""
        if self.waiting_for:
            for number in numbers:
                ended = self.waiting_for.pop(number, None)
                if ended is not None:
                    ended(now, number, succeeded)
