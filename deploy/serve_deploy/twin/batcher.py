"""Triton's dynamic batcher in full: a delay, preferred sizes, queue policies and priorities."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from serve_deploy.errors import UsageError
from serve_deploy.twin.batch_rules import INSTANT, BatchRules
from serve_deploy.twin.instances import Batch
from serve_deploy.twin.queues import PlainQueue, PolicyQueue, Queue
from serve_deploy.twin.server import Batching, ServedModel
from serve_deploy.twin.stations import Shared, Station

# How long Triton's batcher sleeps when nobody wakes it, and between looking for what has expired.
_SLEEP_SECONDS = 0.5


def make_station(model: ServedModel, rows: int, shared: Shared) -> Station:
    """The station of a model whose requests have so many rows each; UsageError where they are more than fit."""
    if rows > max(1, model.max_batch_size):
        raise UsageError(f"{rows} rows in a request: {model.name} takes {max(1, model.max_batch_size)}")
    batching = model.batching
    if batching is None:
        return Station(model, rows, shared)
    # Batches formed ahead that grow up to the largest are those that are taken when an instance is idle.
    simple = not batching.max_queue_delay_seconds and set(batching.preferred_sizes) <= {model.max_batch_size}
    return Station(model, rows, shared) if simple and not _has_policy(model) else BatchingStation(model, rows, shared)


def _has_policy(model: ServedModel) -> bool:
    return bool(model.priority_levels) or not model.policy.is_default


class BatchingStation(Station):
    """Forms batches by Triton's rules.

    As in Triton, batches are formed ahead of the instances, up to twice as many as there are of these, and the newest
    grows until it starts; with a queue policy or priorities a batch is formed only when an instance is idle.
    """

    def __init__(self, model: ServedModel, rows: int, shared: Shared) -> None:
        super().__init__(model, rows, shared)
        batching = model.batching or Batching()
        self._rules = BatchRules.of(
            model.max_batch_size, batching.preferred_sizes, batching.max_queue_delay_seconds, rows
        )
        self._always_wakes = batching.variable_shapes
        self._ahead = 0 if _has_policy(model) else 2 * model.instances
        self._queue: Queue = PlainQueue(shared.requests) if self._ahead else PolicyQueue(model, shared.requests)
        self._ready: deque[Batch] = deque()
        # The batch that may still grow; `stale` once it has started.
        self._newest: Batch = []
        self._stale = True
        self._closed = False
        self._next_preferred = 0
        self._wakes_at: float | None = None
        self._slept_at = 0.0

    def arrive(self, now: float, request: int) -> None:
        """Let it wait, and form a batch if Triton would wake its batcher."""
        if not self._queue.add(now, request):
            self._reject(now, [request])
        elif self._has_slot() and (
            self._always_wakes or self._closed or self._stale or len(self._queue) >= self._next_preferred
        ):
            self._form(now)
        elif not self._ahead and self._wakes_at is None:
            sleeps = math.ceil((now - self._slept_at) / _SLEEP_SECONDS) or 1
            self._wake(self._slept_at + sleeps * _SLEEP_SECONDS, self._wake_up)

    def _finish(self, now: float, batch: Batch) -> None:
        if self._ready:
            self._start_next(now)
        self._form(now)
        self._requests.end(now, batch)

    def _has_slot(self) -> bool:
        return len(self._ready) < (self._ahead or self.instances.idle)

    def _form(self, now: float) -> None:
        """What the batcher's thread does once it wakes, until it waits again."""
        self._wakes_at = None
        while True:
            if self._closed or self._stale:
                self._newest, self._stale, self._closed, self._next_preferred = [], False, False, 0
            if not self._queue:
                self._slept_at = now
                return
            if not self._has_slot():
                if not self._ahead:
                    self._wake(now + _SLEEP_SECONDS, self._sweep)
                return
            room = self._rules.largest - len(self._newest)
            self._reject(now, self._queue.skip_expired(now, room + 1))
            if not self._queue:
                return
            pending = min(len(self._queue), max(room, 1))
            choice = self._rules.choose(len(self._newest), len(self._queue), now - self._queue.oldest(pending))
            self._closed = choice.closed
            if choice.next_preferred is not None:
                self._next_preferred = choice.next_preferred
            if choice.take:
                self._grow(now, choice.take)
            elif choice.wait_seconds > 0:
                self._wake(min(now + choice.wait_seconds, self._queue.next_timeout(pending) + INSTANT), self._wake_up)
                return

    def _grow(self, now: float, count: int) -> None:
        if not self._newest:
            self._ready.append(self._newest)
        self._newest += self._queue.take(count)
        if self.instances.idle and self._dispatch_seconds:
            self._dispatch(now)
        elif self.instances.idle:
            self._start_next(now)

    def _awake(self, now: float, _: object) -> None:
        self._dispatching = False
        while self._ready and self.instances.idle:
            self._start_next(now)
        self._form(now)

    def _start_next(self, now: float) -> None:
        batch = self._ready.popleft()
        self._stale |= batch is self._newest
        delay, entered = self._rules.delay_seconds, self._requests.entered
        # Small batches that were formed because the delay had passed are merged.
        while delay and self._ready and now - entered[self._ready[0][0]] > delay + INSTANT:
            self._stale |= self._ready[0] is self._newest
            if len(batch) + len(self._ready[0]) > self._rules.largest:
                break
            batch = batch + self._ready.popleft()
        self.instances.start(now, batch)

    def _reject(self, now: float, requests: list[int]) -> None:
        if requests:
            self.rejected += [(now, request) for request in requests]
            self._requests.end(now, requests, succeeded=False)

    def _wake(self, at: float, action: Callable[[float, object], None]) -> None:
        self._wakes_at = at
        self._clock.at(at, action)

    def _wake_up(self, now: float, _: object) -> None:
        if now == self._wakes_at:
            self._form(now)

    def _sweep(self, now: float, _: object) -> None:
        if now == self._wakes_at and isinstance(self._queue, PolicyQueue):
            self._reject(now, self._queue.reject_expired(now))
            self._form(now)
