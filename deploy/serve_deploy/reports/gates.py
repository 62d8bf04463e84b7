"""Judge a load test by what its user asked for: `p99<50ms`, `errors<0.1%`, `throughput>200`.

A gate is green only where the measurement carries it. Where the generator was the limit, most figures say nothing of
the server, and a gate on them is missed, and says why. What is still believed: `slip`, the generator's own figure; a
lower bound of a rate that was reached, for the server did at least that much; and, of an open loop that sent all that
was due, a bound on response time or errors that held, for a late generator only adds to the response time, which runs
from the intended send. A closed loop at its limit loads the server less than was asked, so there nothing else counts.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from serve_deploy.errors import UsageError
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_number, format_time_us
from serve_deploy.reports.point import GateResult, Point
from serve_deploy.reports.pooling import group_by_load, pool_repeats, read_histogram

Quantity = Literal["time", "share", "rate"]

_UNITS: dict[Quantity, dict[str, float]] = {
    "time": {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6},
    "share": {"%": 0.01},
    "rate": {"": 1.0, "/s": 1.0},
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_EXPRESSION = re.compile(
    r"\s*(?P<name>[a-z][a-z0-9_.]*)\s*(?P<comparison><=|>=|<|>)\s*"
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zµ%/]*)\s*"
)
_LATENCY = re.compile(r"(?:(?P<clock>response|service)_)?(?P<figure>mean|max|p(?P<percentile>\d{1,2}(?:\.\d+)?))")

VOCABULARY = """a gate is <figure><comparison><number><unit>, such as 'p99<50ms':
  p50 … p99.9, mean, max   response time, from the intended send (us, ms, s)
  service_p99 …            service time, from the actual send
  queue                    mean time in the server's queue (us, ms, s)
  slip                     p99 of actual minus intended send (us, ms, s)
  errors, timeouts         share of the requests that failed (timeouts included), that timed out (%)
  rate, throughput         requests/s, inferences/s (/s or no unit)
comparisons are < <= > >="""


@dataclass(frozen=True)
class Gate:
    """A parsed --slo; `threshold` is in `unit`, and `read` answers in µs, as a fraction or a second."""

    expression: str
    figure: str
    quantity: Quantity
    comparison: str
    threshold: float
    unit: str
    read: Callable[[Point], float | None]

    def is_carried_by(self, point: Point, *, holds: bool) -> bool:
        """Whether the point can answer this gate although the generator may have been the limit."""
        if not point.client_bound or self.figure == "slip":
            return True
        if not holds:
            return False
        if self.comparison in (">", ">="):
            return self.quantity == "rate"
        conservative = self.quantity == "share" or (
            self.quantity == "time" and self.figure != "queue" and not self.figure.startswith("service")
        )
        return conservative and point.load.mode == "open" and not (point.in_flight_at_end or point.never_sent)

    @property
    def factor(self) -> float:
        """What one unit is in µs, as a fraction, or a second."""
        return _UNITS[self.quantity][self.unit]


def parse_gate(expression: str) -> Gate:
    """Parse one --slo; UsageError, saying what may be said, where it is none."""
    parsed = _EXPRESSION.fullmatch(expression)
    if parsed is None:
        raise UsageError(f"`slo={expression}` is not a gate", hint=VOCABULARY)
    found = _find_figure(parsed["name"])
    if found is None:
        raise UsageError(f"`slo={expression}`: unknown figure '{parsed['name']}'", hint=VOCABULARY)
    quantity, read = found
    unit = parsed["unit"]
    if unit not in _UNITS[quantity]:
        units = " or ".join(name or "none" for name in _UNITS[quantity])
        said = f"not '{unit}'" if unit else "and none was given"
        raise UsageError(f"`slo={expression}`: the unit of {parsed['name']} is {units}, {said}", hint=VOCABULARY)
    if math.isinf(float(parsed["number"])):
        raise UsageError(f"`slo={expression}`: the threshold is not a finite number")
    return Gate(
        expression=expression.strip(),
        figure=parsed["name"],
        quantity=quantity,
        comparison=parsed["comparison"],
        threshold=float(parsed["number"]),
        unit=unit,
        read=read,
    )


def evaluate_gates(gates: Sequence[Gate], points: Iterable[Point]) -> tuple[GateResult, ...]:
    """Judge every load, its repeats pooled, by every gate; where nothing was measured, every gate is missed."""
    pooled = [pool_repeats(group) for group in group_by_load(points)]
    if not pooled:
        return tuple(
            GateResult(
                expression=gate.expression, passed=False, measured=None, threshold=gate.threshold, unit=gate.unit,
                explanation="cannot be judged: no load was measured to the end",
            )
            for gate in gates
        )  # fmt: skip
    return tuple(evaluate_gate(gate, point) for point in pooled for gate in gates)


def evaluate_gate(gate: Gate, point: Point) -> GateResult:
    """Judge one point; a figure that does not exist misses its gate."""
    value = gate.read(point)
    measured = None if value is None else value / gate.factor
    holds = measured is not None and _COMPARISONS[gate.comparison](measured, gate.threshold)
    trusted = gate.is_carried_by(point, holds=holds)
    return GateResult(
        expression=gate.expression,
        passed=holds and trusted,
        measured=measured,
        threshold=gate.threshold,
        unit=gate.unit,
        explanation=_explain(gate, measured) + ("" if trusted else "; not trusted: the load generator was the limit"),
        trusted=trusted,
        load=point.load,
    )


def read_percentile(latency: LatencySummary, percent: float) -> float | None:
    """A percentile of the response or service time in µs; None where nothing was answered."""
    if not latency.count:
        return None
    known = {50: latency.p50_us, 90: latency.p90_us, 95: latency.p95_us, 99: latency.p99_us, 99.9: latency.p999_us}
    if percent in known:
        return known[percent]
    return read_histogram(latency).percentile_us(percent) if latency.histogram else None


def read_error_rate(point: Point) -> float | None:
    """Requests that failed, timed out or were never sent, as a share of those that ended; None where none did."""
    return point.unsuccessful / point.ended if point.ended else None


def read_queue_us(point: Point) -> float | None:
    """Mean time that a request waits in the server's queues, over all composing models; None without statistics."""
    requests = point.server[0].requests if point.server else 0
    if not requests:
        return None
    return sum(statistics.queue_us * statistics.requests for statistics in point.server) / requests


def _read_timeouts(point: Point) -> float | None:
    return point.timed_out / point.ended if point.ended else None


_FIGURES: dict[str, tuple[Quantity, Callable[[Point], float | None]]] = {
    "queue": ("time", read_queue_us),
    "slip": ("time", lambda point: point.client.slip_p99_us),
    "errors": ("share", read_error_rate),
    "timeouts": ("share", _read_timeouts),
    "rate": ("rate", lambda point: point.request_rate),
    "throughput": ("rate", lambda point: point.throughput),
}


def _find_figure(name: str) -> tuple[Quantity, Callable[[Point], float | None]] | None:
    latency = _LATENCY.fullmatch(name)
    if latency is None:
        return _FIGURES.get(name)
    return "time", _latency_reader(latency["clock"] or "response", latency["figure"], latency["percentile"])


def _latency_reader(clock: str, figure: str, percentile: str | None) -> Callable[[Point], float | None]:
    def read(point: Point) -> float | None:
        latency: LatencySummary = getattr(point, clock)
        if percentile is not None:
            return read_percentile(latency, float(percentile))
        return float(getattr(latency, f"{figure}_us")) if latency.count else None

    return read


def _explain(gate: Gate, measured: float | None) -> str:
    if measured is None:
        missing = "the server gave no statistics" if gate.figure == "queue" else "no request was answered"
        return f"cannot be judged: {missing}"
    difference = measured - gate.threshold
    if difference == 0:
        return f"{_with_unit(gate, measured)}, exactly the threshold"
    relative = f" ({format_number(abs(difference) / gate.threshold * 100, 2)} %)" if gate.threshold else ""
    side = "over" if difference > 0 else "under"
    return f"{_with_unit(gate, measured)}, {_with_unit(gate, abs(difference))}{relative} {side} the threshold"


def _with_unit(gate: Gate, value: float) -> str:
    if gate.quantity == "time":
        return format_time_us(value * gate.factor)
    return f"{format_number(value)}{'/s' if gate.quantity == 'rate' else ' %'}"
