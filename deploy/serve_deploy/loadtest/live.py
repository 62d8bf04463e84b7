"""How a period is doing while it runs, for a listener that shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from serve_deploy.loadtest.measurements.answers import AnswerMeasurement
from serve_deploy.loadtest.measurements.measurement import Measurement
from serve_deploy.loadtest.workers.messages import PeriodPlan
from serve_deploy.reports.point import Load

Phase = Literal["warm-up", "measuring"]


@dataclass(frozen=True)
class LiveSnapshot:
    """How a period is doing, about twice a second; rates and `response_p99_us` are of the time since.

    Of token streams, tokens count as they come, and `first_token_p50_us` is of the whole period so far.
    """

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
    output_tokens_per_second: float | None = None
    first_token_p50_us: float | None = None


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
        self._tokens = 0.0

    def tell(self, measurement: Measurement) -> None:
        """Give the listener a snapshot."""
        now, planned = time.monotonic(), self.plan.duration_seconds
        seconds = max(now - self._last, 1e-3)
        recent, answers = measurement.take_recent(), measurement.answers
        in_flight = sum(measurement.in_flight.values())
        self.listener(
            LiveSnapshot(
                load=self.load,
                repeat=self.repeat,
                phase=self.phase,
                elapsed_seconds=max(now - self.plan.start, 0.0),
                planned_seconds=planned if math.isfinite(planned) else None,
                request_rate=recent.count / seconds,
                response_p99_us=recent.percentile_us(99),
                sent=measurement.sent + in_flight,
                succeeded=measurement.succeeded,
                failed=measurement.failed,
                timed_out=measurement.timed_out,
                never_sent=measurement.never_sent,
                in_flight=in_flight,
                output_tokens_per_second=self._token_rate(answers, seconds) if answers else None,
                first_token_p50_us=answers.first.percentile_us(50) if answers and answers.first.count else None,
            )
        )
        self._last = now

    def _token_rate(self, answers: AnswerMeasurement, seconds: float) -> float:
        before, self._tokens = self._tokens, answers.tokens_so_far
        return max(self._tokens - before, 0.0) / seconds
