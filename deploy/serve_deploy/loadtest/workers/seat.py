"""Where a run takes part in a measurement: alone, or with the runs of other models that measure at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from serve_deploy.arrivals.shapes import ConstantRate, LoadShape
from serve_deploy.loadtest.workers.interruption import Interruption
from serve_deploy.loadtest.workers.pool import Workers, start_workers

_LEAD_SECONDS = 0.05
# Each further model costs the generators some time to make ready.
_LEAD_SECONDS_A_MODEL = 0.01


@dataclass(frozen=True)
class Seat:
    """A run's workers, and when its periods start: `start` waits until all who measure together are ready.

    It raises BrokenBarrierError once another one has left before its end, which `leave` tells the others.
    """

    interruption: Interruption
    workers: Workers
    start: Callable[[LoadShape], float]
    leave: Callable[[], None]


# Given the number of generator processes.
TakeSeat = Callable[[int], AbstractContextManager[Seat]]


@contextmanager
def sit_alone(processes: int, kept: Workers | None = None) -> Iterator[Seat]:
    """Measure one model alone, with workers of its own or with those that the caller keeps."""
    with Interruption() as interruption, nullcontext([kept]) if kept else start_workers(processes) as (workers,):
        yield Seat(interruption, workers, lambda _shape: time.monotonic() + _LEAD_SECONDS, lambda: None)


@dataclass
class Meeting:
    """Lets several models be measured at once, each in a thread of its own."""

    interruption: Interruption
    workers: Sequence[Workers]
    _start: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._barrier = threading.Barrier(len(self.workers), self._agree)

    def _agree(self) -> None:
        self._start = time.monotonic() + _LEAD_SECONDS + _LEAD_SECONDS_A_MODEL * len(self.workers)

    def break_up(self) -> None:
        """Let nobody wait any more."""
        self._barrier.abort()

    @contextmanager
    def sit(self, number: int) -> Iterator[Seat]:
        """The seat of one of the models."""

        def start(shape: LoadShape) -> float:
            self._barrier.wait()
            # Models of equal constant rates would else all be asked at the same instants.
            spread = number / len(self.workers) / shape.rate if isinstance(shape, ConstantRate) else 0.0
            return self._start + spread

        yield Seat(self.interruption, self.workers[number], start, self.break_up)
