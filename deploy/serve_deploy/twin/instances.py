"""A model's instances: each executes one batch at a time, for as long as was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serve_deploy.twin.clock import Clock
from serve_deploy.twin.server import ServedModel
from serve_deploy.twin.times import draw_levels

Batch = list[int]
Finished = Callable[[float, Batch], None]


class SharedCores:
    """What the models of a server use of its cores; beyond all of them, every execution takes longer."""

    def __init__(self, cores: float | None) -> None:
        self._cores = cores
        self._used = 0.0
        self._sharing: list[ContendingInstances] = []
        self.slowdown = 1.0

    @property
    def limited(self) -> bool:
        """Whether they can be used up."""
        return self._cores is not None

    def share(self, instances: ContendingInstances) -> None:
        """Slow these instances too."""
        self._sharing.append(instances)

    def use(self, now: float, cores: float, of: ContendingInstances) -> None:
        """So many more (or, below 0, fewer) are in use, by these instances."""
        self._used += cores
        slowdown = max(1.0, self._used / self._cores) if self._cores else 1.0
        changed, self.slowdown = slowdown != self.slowdown, slowdown
        for each in self._sharing if changed else (of,):
            each.rescale(now)


class Instances:
    """Instances that do not slow each other; the logs hold every execution's requests, start and end."""

    def __init__(
        self, model: ServedModel, rows: int, clock: Clock, finished: Finished, generator: np.random.Generator
    ) -> None:
        self.idle = self.count = model.instances
        self.batches: list[Batch] = []
        self.starts: list[float] = []
        self.ends: list[float] = []
        self._model, self._rows = model, rows
        self._clock, self._finished = clock, finished
        self._durations: dict[tuple[int, int], list[float]] = {}
        self._draws: list[int] = draw_levels(generator).tolist()
        self._lock_free_at = 0.0 if model.exclusive else -np.inf

    def start(self, now: float, batch: Batch) -> None:
        """Execute on an idle instance."""
        self.idle -= 1
        draw = self._draws[len(self.starts) % len(self._draws)]
        try:
            end = now + self._durations[len(batch), 1][draw]
        except KeyError:
            end = now + self._measured(len(batch), 1)[draw]
        if self._lock_free_at > now:
            end += self._lock_free_at - now
        if self._lock_free_at >= 0:
            self._lock_free_at = end
        self._log(batch, now, end)
        self._clock.at(end, self._end, batch)

    def _end(self, now: float, batch: Batch) -> None:
        self.idle += 1
        self._finished(now, batch)

    def _log(self, batch: Batch, start: float, end: float) -> None:
        self.batches.append(batch)
        self.starts.append(start)
        self.ends.append(end)

    def _measured(self, requests: int, busy: int) -> list[float]:
        key = requests, busy
        if key not in self._durations:
            self._durations[key] = self._model.service.at(requests * self._rows, busy).quantiles.tolist()
        return self._durations[key]


class _Execution:
    __slots__ = ("batch", "draw", "duration", "end", "number")

    def __init__(self, batch: Batch, number: int, draw: int, end: float) -> None:
        self.batch, self.number, self.draw = batch, number, draw
        self.end, self.duration = end, 0.0


class ContendingInstances(Instances):
    """Instances that slow each other, and those of other models: what remains of each execution is stretched."""

    def __init__(
        self,
        model: ServedModel,
        rows: int,
        clock: Clock,
        finished: Finished,
        generator: np.random.Generator,
        cores: SharedCores,
    ) -> None:
        super().__init__(model, rows, clock, finished, generator)
        self._cores = cores
        self._executing: list[_Execution] = []
        cores.share(self)

    def start(self, now: float, batch: Batch) -> None:
        """Execute on an idle instance; all that execute go on more slowly."""
        self.idle -= 1
        number = len(self.starts)
        self._log(batch, now, now)
        self._executing.append(_Execution(batch, number, self._draws[number % len(self._draws)], now))
        self._cores.use(now, self._model.cores_used, self)

    def rescale(self, now: float) -> None:
        """Stretch what remains of each execution to the pace of now."""
        busy, slowdown = self.count - self.idle, self._cores.slowdown
        for each in self._executing:
            requests = len(each.batch)
            duration = max(self._measured(requests, busy)[each.draw], self._measured(requests, 1)[each.draw] * slowdown)
            if not each.duration:
                each.end = now + duration
            elif duration != each.duration:
                each.end = now + (each.end - now) * duration / each.duration
            else:
                continue
            each.duration = duration
            self._clock.at(each.end, self._try_end, each)

    def _try_end(self, now: float, execution: _Execution) -> None:
        # One that was stretched or hastened since has another end.
        if execution.end != now or execution not in self._executing:
            return
        self._executing.remove(execution)
        self.ends[execution.number] = now
        self.idle += 1
        self._cores.use(now, -self._model.cores_used, self)
        self._finished(now, execution.batch)
