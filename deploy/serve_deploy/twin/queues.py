"""The queue of a dynamic batcher: plain, or with priorities, timeouts and an end (Triton's PriorityQueue)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from serve_deploy.twin.clock import Requests
from serve_deploy.twin.server import QueuePolicy, ServedModel


class Queue(Protocol):
    """What waits, in the order in which it is to be executed."""

    def __len__(self) -> int: ...

    def add(self, now: float, request: int) -> bool:
        """Let it wait; False where the queue is full."""

    def skip_expired(self, now: float, count: int) -> list[int]:
        """Put off what has expired among the first `count`; returns those that are to be rejected."""

    def oldest(self, count: int) -> float:
        """When the one of the first `count` entered that has waited longest."""

    def next_timeout(self, count: int) -> float:
        """When the first of the first `count` expires; infinity where none does."""

    def take(self, count: int) -> list[int]:
        """Remove and return the first `count`."""


class PlainQueue(deque[int]):
    """First in, first out."""

    def __init__(self, requests: Requests) -> None:
        super().__init__()
        self._entered = requests.entered

    def add(self, now: float, request: int) -> bool:  # noqa: ARG002
        """Always True."""
        self.append(request)
        return True

    def skip_expired(self, now: float, count: int) -> list[int]:  # noqa: ARG002
        """None expire."""
        return []

    def oldest(self, count: int) -> float:  # noqa: ARG002
        """The first one's."""
        return self._entered[self[0]]

    def next_timeout(self, count: int) -> float:  # noqa: ARG002
        """Never."""
        return math.inf

    def take(self, count: int) -> list[int]:
        """Remove and return the first `count`."""
        pop = self.popleft
        return [pop() for _ in range(count)]


@dataclass
class _Level:
    policy: QueuePolicy
    fresh: list[tuple[int, float]] = field(default_factory=list)
    delayed: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.fresh) + len(self.delayed)


class PolicyQueue:
    """By priority; within one, what has expired and is only delayed comes last."""

    def __init__(self, model: ServedModel, requests: Requests) -> None:
        self._requests = requests
        self._default = model.default_priority if model.priority_levels else 0
        numbers = range(1, model.priority_levels + 1) if model.priority_levels else (0,)
        self._levels = {number: _Level(model.policies.get(number, model.policy)) for number in numbers}

    def __len__(self) -> int:
        return sum(map(len, self._levels.values()))

    def add(self, now: float, request: int) -> bool:
        """Let it wait at its priority, unless as many do as may."""
        level = self._levels[self._requests.priorities.get(request, self._default)]
        policy = level.policy
        if policy.max_queue_size and len(level) >= policy.max_queue_size:
            return False
        level.fresh.append((request, now + policy.timeout_seconds if policy.timeout_seconds else math.inf))
        return True

    def skip_expired(self, now: float, count: int) -> list[int]:
        """Put off or reject what has expired; what lies behind the first `count` is not looked at."""
        rejected: list[int] = []
        for level in self._levels.values():
            index = 0
            while index < min(len(level.fresh), count):
                if level.fresh[index][1] >= now:
                    index += 1
                    continue
                expired, _ = level.fresh.pop(index)
                (rejected if level.policy.timeout_action == "reject" else level.delayed).append(expired)
            count -= len(level)
            if count <= 0:
                break
        return rejected

    def reject_expired(self, now: float) -> list[int]:
        """Reject whatever has expired, wherever it waits."""
        rejected: list[int] = []
        for level in self._levels.values():
            if level.policy.timeout_action == "reject":
                rejected += [request for request, timeout in level.fresh if timeout < now]
                level.fresh = [each for each in level.fresh if each[1] >= now]
        return rejected

    def oldest(self, count: int) -> float:
        """When the one of the first `count` entered that has waited longest."""
        return min(self._requests.entered[request] for request, _ in self._first(count))

    def next_timeout(self, count: int) -> float:
        """When the first of the first `count` expires; infinity where none does."""
        return min(timeout for _, timeout in self._first(count))

    def take(self, count: int) -> list[int]:
        """Remove and return the first `count`."""
        taken = [request for request, _ in self._first(count)]
        for level in self._levels.values():
            fresh = min(count, len(level.fresh))
            delayed = min(count - fresh, len(level.delayed))
            del level.fresh[:fresh], level.delayed[:delayed]
            count -= fresh + delayed
        return taken

    def _first(self, count: int) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        for level in self._levels.values():
            found += level.fresh[: count - len(found)]
            found += [(request, math.inf) for request in level.delayed[: count - len(found)]]
        return found
