"""How a period is doing while it runs, for a listener that shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.messages import PeriodPlan
from serve_deploy.reports.point import Load

Phase = Literal["warm-up", "measuring"]


@dataclass(frozen=True)
class LiveSnapshot:
    """How a period is doing, about twice a second; the rate and `response_p99_us` are of the time since."""

    load: Load
    repeat: int
    phase: Phase
    elapsed_seconds: float
    planned_seconds: float | None
    request_rate: float
    response_p99_us: float
    sent: int
    succeeded: int
    failed: int
    timed_out: int
    never_sent: int
    in_flight: int


Listener = Callable[[LiveSnapshot], None]


@dataclass
class Pulse:
    """Turns a period's measurement so far into snapshots for the listener."""

    listener: Listener
    load: Load
    repeat: int
    phase: Phase
    plan: PeriodPlan

    def __post_init__(self) -> None:
        self._last = self.plan.start

    def tell(self, measurement: Measurement) -> None:
        """Give the listener a snapshot."""
        now, planned = time.monotonic(), self.plan.duration_seconds
        recent = measurement.take_recent()
        in_flight = sum(measurement.in_flight.values())
        self.listener(
            LiveSnapshot(
                load=self.load,
                repeat=self.repeat,
                phase=self.phase,
                elapsed_seconds=max(now - self.plan.start, 0.0),
                planned_seconds=planned if math.isfinite(planned) else None,
                request_rate=recent.count / max(now - self._last, 1e-3),
                response_p99_us=recent.percentile_us(99),
                sent=measurement.sent + in_flight,
                succeeded=measurement.succeeded,
                failed=measurement.failed,
                timed_out=measurement.timed_out,
                never_sent=measurement.never_sent,
                in_flight=in_flight,
            )
        )
        self._last = now
