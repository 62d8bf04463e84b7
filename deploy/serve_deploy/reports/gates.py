"""Judge a load test by what its user asked for: `p99<50ms`, `errors<0.1%`, `throughput>200`.

A gate is green only where the measurement carries it. Where the generator was the limit, most figures say nothing of
the server, and a gate on them is missed, and says why. What is still believed: `slip`, the generator's own figure; a
lower bound of a rate that was reached, for the server did at least that much; and, of an open loop that sent all that
was due, a bound on response time or errors that held, for a late generator only adds to the response time, which runs
from the intended send. A closed loop at its limit loads the server less than was asked, so there nothing else counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serve_deploy.errors import UsageError
from serve_deploy.reports.expressions import COMPARISONS, UNITS, Quantity, complain_of_unit, read_expression
from serve_deploy.reports.figures import format_number, format_time_us
from serve_deploy.reports.point import GateResult, Point
from serve_deploy.reports.pooling import group_by_load, pool_repeats
from serve_deploy.reports.readers import (
    ITL,
    TPOT,
    TTFT,
    Read,
    latency_reader,
    percentile_reader,
    read_error_rate,
    read_good_rate,
    read_goodput,
    read_queue_us,
    read_timeouts,
    token_reader,
)

_CLOCKS = {"response": "response", "e2e": "response", "service": "service", "ttft": TTFT, "itl": ITL, "tpot": TPOT}
_LATENCY = re.compile(rf"(?:(?P<clock>{'|'.join(_CLOCKS)})_)?(?P<figure>mean|max|p(?P<percentile>\d{{1,2}}(?:\.\d+)?))")

# Two pieces that it reads at once seem to have no gap between them, and so a request better than it was.
_MISREAD_BY_A_LATE_READER = ("itl", "tpot", "goodput")

VOCABULARY = """a gate is <figure><comparison><number><unit>, such as 'p99<50ms':
  p50 … p99.9, mean, max   response time, from the intended send (us, ms, s); e2e_p99 … is the same
  service_p99 …            service time, from the actual send
  queue                    mean time in the server's queue (us, ms, s)
  slip                     p99 of actual minus intended send (us, ms, s)
  errors, timeouts         share of the requests that failed (timeouts included), that timed out (%)
  rate, throughput         requests/s, inferences/s (/s or no unit)
and of token streams:
  ttft_p99 …               time to first token, from the intended send (us, ms, s)
  itl_p99 …                inter-token latency: every gap between pieces of an answer (us, ms, s)
  tpot_p99 …               time per output token, of each request (us, ms, s)
  output_tokens, input_tokens   tokens/s (/s or no unit)
  goodput                  requests that met every objective: their share (%), or how many a second (/s)
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
    read: Read

    def is_carried_by(self, point: Point, *, holds: bool) -> bool:
        """Whether the point can answer this gate although the generator may have been the limit."""
        if not point.client_bound or self.figure == "slip":
            return True
        if not holds:
            return False
        begins = self.figure.partition("_")[0]
        if begins in _MISREAD_BY_A_LATE_READER:
            return False
        if self.comparison in (">", ">="):
            return self.quantity == "rate"
        conservative = self.quantity != "rate" and begins not in ("queue", "service")
        return conservative and point.load.mode == "open" and not (point.in_flight_at_end or point.never_sent)

    @property
    def needs_tokens(self) -> bool:
        """Whether only a load test of token streams has the figure."""
        return self.figure.partition("_")[0] in ("ttft", "itl", "tpot", "output", "input", "goodput")

    @property
    def factor(self) -> float:
        """What one unit is in µs, as a fraction, or a second."""
        return UNITS[self.quantity][self.unit]


def parse_gate(expression: str) -> Gate:
    """Parse one --slo; UsageError, saying what may be said, where it is none."""
    parsed = read_expression(expression)
    if parsed is None:
        raise UsageError(f"`slo={expression}` is not a gate", hint=VOCABULARY)
    readers = _find_figure(parsed.name)
    if not readers:
        raise UsageError(f"`slo={expression}`: unknown figure '{parsed.name}'", hint=VOCABULARY)
    # A figure of several quantities needs a unit to tell them apart.
    units = {unit: kind for kind in readers for unit in UNITS[kind] if unit or len(readers) == 1}
    if parsed.unit not in units:
        raise UsageError(f"`slo={expression}`: {complain_of_unit(parsed, list(units))}", hint=VOCABULARY)
    if not parsed.is_finite:
        raise UsageError(f"`slo={expression}`: the threshold is not a finite number")
    quantity = units[parsed.unit]
    return Gate(
        expression=expression.strip(),
        figure=parsed.name,
        quantity=quantity,
        comparison=parsed.comparison,
        threshold=parsed.number,
        unit=parsed.unit,
        read=readers[quantity],
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
    holds = measured is not None and COMPARISONS[gate.comparison](measured, gate.threshold)
    trusted = gate.is_carried_by(point, holds=holds)
    return GateResult(
        expression=gate.expression,
        passed=holds and trusted,
        measured=measured,
        threshold=gate.threshold,
        unit=gate.unit,
        explanation=_explain(gate, measured, point)
        + ("" if trusted else "; not trusted: the load generator was the limit"),
        trusted=trusted,
        load=point.load,
    )


_FIGURES: dict[str, dict[Quantity, Read]] = {
    "queue": {"time": read_queue_us},
    "slip": {"time": lambda point: point.client.slip_p99_us},
    "errors": {"share": read_error_rate},
    "timeouts": {"share": read_timeouts},
    "rate": {"rate": lambda point: point.request_rate},
    "throughput": {"rate": lambda point: point.throughput},
    "output_tokens": {"rate": token_reader("output_tokens_per_second")},
    "input_tokens": {"rate": token_reader("input_tokens_per_second")},
    "goodput": {"share": read_goodput, "rate": read_good_rate},
}


def _find_figure(name: str) -> dict[Quantity, Read]:
    latency = _LATENCY.fullmatch(name)
    if latency is None:
        return _FIGURES.get(name, {})
    clock, percentile = _CLOCKS[latency["clock"] or "response"], latency["percentile"]
    if percentile is None:
        return {"time": latency_reader(clock, f"{latency['figure']}_us")}
    return {"time": percentile_reader(clock, float(percentile))}


def _explain(gate: Gate, measured: float | None, point: Point) -> str:
    if measured is None:
        return f"cannot be judged: {_explain_missing(gate, point)}"
    difference = measured - gate.threshold
    if difference == 0:
        return f"{_with_unit(gate, measured)}, exactly the threshold"
    relative = f" ({format_number(abs(difference) / gate.threshold * 100, 2)} %)" if gate.threshold else ""
    side = "over" if difference > 0 else "under"
    far = abs(difference)
    by = f"{format_number(far)} points" if gate.quantity == "share" else _with_unit(gate, far)
    return f"{_with_unit(gate, measured)}, {by}{relative} {side} the threshold"


def _explain_missing(gate: Gate, point: Point) -> str:
    if gate.figure == "queue":
        return "the server gave no statistics"
    if not gate.needs_tokens or not point.ended:
        return "no request was answered"
    if point.generation is None:
        return "no token streams were measured"
    if gate.figure == "goodput":
        return "no objective says which requests are good"
    if gate.figure == "input_tokens":
        return "neither the server nor a tokenizer counted the input tokens"
    return "no answer had a second token" if gate.figure.startswith(("itl", "tpot")) else "no request gave a token"


def _with_unit(gate: Gate, value: float) -> str:
    if gate.quantity == "time":
        return format_time_us(value * gate.factor)
    if gate.quantity == "share":
        return f"{format_number(value)} %"
    return f"{format_number(value)}{' tokens' if gate.figure.endswith('_tokens') else ''}/s"
