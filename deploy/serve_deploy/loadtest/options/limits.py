"""What a load test may be asked for: numbers that mean something, and that one machine can carry out. Pure."""

from __future__ import annotations

import math

from serve_deploy.arrivals.shapes import ClosedLoop, ConstantRate, LoadShape, PoissonRate, Ramp
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.options.load_test import LoadTestOptions
from serve_deploy.loadtest.options.loads import Search
from serve_deploy.reports.figures import format_plainly

# Far beyond what any generator sends; above it, send times a nanosecond apart would run together.
_MOST_RATE = 1e9
_MOST_CONCURRENCY = 65_535
_MOST_PROCESSES = 256
_MOST_SECONDS = 1e9


def check_limits(options: LoadTestOptions) -> None:
    """UsageError names the first number that is too large, or no number at all."""
    seconds = {
        "duration_seconds": options.duration_seconds or 0.0,
        "warmup_seconds": options.warmup_seconds,
        "timeout_seconds": options.patience_seconds,
        "wait_seconds": options.wait_seconds,
    }
    for name, value in seconds.items():
        _check(name, value, _MOST_SECONDS, "that is more than 30 years")
    for shape in _shapes(options):
        match shape:
            case ClosedLoop(concurrency):
                reason = "a machine has no more ports for connections to one server"
                _check("concurrency", concurrency, _MOST_CONCURRENCY, reason)
            case ConstantRate(rate) | PoissonRate(rate):
                _check("rate", rate, _MOST_RATE, "no load generator sends faster")
            case Ramp(first, last):
                _check("ramp", max(first, last), _MOST_RATE, "no load generator sends faster")
    _check("processes", options.processes, _MOST_PROCESSES, "each needs a core")


def _shapes(options: LoadTestOptions) -> tuple[LoadShape, ...]:
    loads = options.loads
    return (loads.shape(loads.limit),) if isinstance(loads, Search) else loads


def _check(name: str, value: float, most: float, reason: str) -> None:
    if not math.isfinite(value):
        raise UsageError(f"`{name}={value:g}` is not a finite number")
    if value > most:
        raise UsageError(f"`{name}={format_plainly(value)}`: the most is {format_plainly(most)}; {reason}")
