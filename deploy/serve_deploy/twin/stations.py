"""A model's queue and instances, and ensembles of them, as requests pass through."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np

from serve_deploy.twin.clock import Clock, Requests
from serve_deploy.twin.instances import Batch, ContendingInstances, Instances, SharedCores
from serve_deploy.twin.server import ServedModel

# Of the time until an idle instance begins, what passes until Triton's batcher has taken a request.
_WAKING_SHARE = 0.5


class Node(Protocol):
    """Where requests go."""

    def arrive(self, now: float, request: int) -> None:
        """A request enters."""


@dataclass
class Shared:
    """What the stations of one server share."""

    clock: Clock
    requests: Requests
    cores: SharedCores
    seed: int
    stations: int = 0


class Station:
    """A model that takes what waits, up to the largest batch, whenever an instance is idle."""

    def __init__(self, model: ServedModel, rows: int, shared: Shared) -> None:
        self.model, self.rows = model, rows
        self.rejected: list[tuple[float, int]] = []
        self._clock, self._requests = shared.clock, shared.requests
        self._largest = max(1, model.max_batch_size // rows) if model.batching else 1
        seed = np.random.default_rng([shared.seed, shared.stations])
        shared.stations += 1
        contend = not model.exclusive and (model.service.contend or (shared.cores.limited and model.cores_used))
        self.instances: Instances = (
            ContendingInstances(model, rows, shared.clock, self._finish, seed, shared.cores)
            if contend
            else Instances(model, rows, shared.clock, self._finish, seed)
        )
        self._waiting: deque[int] = deque()
        self._dispatch_seconds = model.dispatch_seconds
        self._dispatching = False

    def arrive(self, now: float, request: int) -> None:
        """Execute it if an instance is idle."""
        if not self.instances.idle:
            self._waiting.append(request)
        elif self._dispatch_seconds:
            self._waiting.append(request)
            self._dispatch(now)
        else:
            self.instances.start(now, [request])

    def _dispatch(self, now: float) -> None:
        """Wake an idle instance, unless one is being woken."""
        if not self._dispatching:
            self._dispatching = True
            self._clock.at(now + self._dispatch_seconds, self._awake)

    def _awake(self, now: float, _: object) -> None:
        self._dispatching = False
        while self._waiting and self.instances.idle:
            self._start_waiting(now, self._in_time(now))

    def _in_time(self, now: float) -> int:
        """How many join the batch that starts now: the batcher's thread wakes for each, and then the instance's."""
        latest, entered = now - _WAKING_SHARE * self._dispatch_seconds, self._requests.entered
        return sum(1 for _ in takewhile(lambda request: entered[request] <= latest, self._waiting))

    def _start_waiting(self, now: float, most: int | None = None) -> None:
        pop, waiting = self._waiting.popleft, self._waiting
        count = min(len(waiting) if most is None else max(1, most), self._largest)
        self.instances.start(now, [pop() for _ in range(count)])

    def _finish(self, now: float, batch: Batch) -> None:
        if self._waiting:
            self._start_waiting(now)
        if self._requests.waiting_for:
            self._requests.end(now, batch)
