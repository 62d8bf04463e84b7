"""How a period is doing while it runs, for whoever wants to show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from serve_deploy.loadtest.loads import describe_load
from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.schedule import LoadShape
from serve_deploy.reports.point import Load


@dataclass(frozen=True)
class LiveSnapshot:
    """How a period is doing, about twice a second; the rate and `response_p99_us` are of the time since."""

    load: Load
    repeat: int
    phase: Literal["warm-up", "measuring"]
    elapsed_seconds: float
    planned_seconds: float | None
    request_rate: float
    response_p99_us: float
    sent: int
    succeeded: int
    failed: int
    timed_out: int
    in_flight: int


Listener = Callable[[LiveSnapshot], None]


def ignore(_snapshot: LiveSnapshot) -> None:
    """Listen to nothing."""


class Pulse:
    """Turns the measurement so far into snapshots for the listener."""

    def __init__(
        self,
        listener: Listener,
        shape: LoadShape,
        options: LoadTestOptions,
        repeat: int,
        phase: Literal["warm-up", "measuring"],
        duration_seconds: float | None,
        start: float,
    ) -> None:
        self._listener = listener
        self._load = describe_load(shape, options.batch_size)
        self._repeat = repeat
        self._phase = phase
        self._planned = duration_seconds
        self._start = self._last = start

    def tell(self, measurement: Measurement) -> None:
        """Give the listener a snapshot."""
        now = time.monotonic()
        recent = measurement.take_recent()
        in_flight = sum(measurement.in_flight.values())
        self._listener(
            LiveSnapshot(
                load=self._load,
                repeat=self._repeat,
                phase=self._phase,
                elapsed_seconds=max(now - self._start, 0.0),
                planned_seconds=self._planned,
                request_rate=recent.count / max(now - self._last, 1e-3),
                response_p99_us=recent.percentile_us(99),
                sent=measurement.sent + in_flight,
                succeeded=measurement.succeeded,
                failed=measurement.failed,
                timed_out=measurement.timed_out,
                in_flight=in_flight,
            )
        )
        self._last = now
