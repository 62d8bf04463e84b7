"""The figures that stand in a row for each load: what they are called, where they come from, how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from serve_deploy.reports.figures import format_number, format_share, format_time_us
from serve_deploy.reports.readers import (
    ITL,
    TPOT,
    TTFT,
    Read,
    latency_reader,
    read_error_rate,
    read_goodput,
    read_longest_gap_us,
    read_queue_us,
    token_reader,
)
from serve_deploy.reports.report import LoadTestReport

Write = Callable[[float], str]


@dataclass(frozen=True)
class Kind:
    """A figure that every load has; `margin` writes its interval where a table has room for that."""

    label: str
    key: str
    read: Read
    write: Write
    margin: Write | None = None

    def rename(self, label: str) -> Kind:
        """The same figure under another label."""
        return Kind(label, self.key, self.read, self.write, self.margin)


def _latency(label: str, clock: str, figure: str, margin: Write | None = None) -> Kind:
    return Kind(label, f"{clock}.{figure}", latency_reader(clock, figure), format_time_us, margin)


def _write_rate(value: float) -> str:
    return format_number(value, 4)


REQUESTS = Kind("requests/s", "request_rate", lambda point: point.request_rate, _write_rate)
INFERENCES = Kind("inferences/s", "throughput", lambda point: point.throughput, _write_rate, format_number)
OUTPUT_TOKENS, INPUT_TOKENS = (
    Kind(f"{way} tokens/s", f"generation.{figure}", token_reader(figure), _write_rate, format_number)
    for way, figure in (("output", "output_tokens_per_second"), ("input", "input_tokens_per_second"))
)
P50 = _latency("p50", "response", "p50_us")
P99 = _latency("p99", "response", "p99_us", format_time_us)
SLOWEST = _latency("max", "response", "max_us")
TTFT_P50 = _latency("TTFT p50", TTFT, "p50_us")
TTFT_P99 = _latency("TTFT p99", TTFT, "p99_us", format_time_us)
ITL_P50 = _latency("ITL p50", ITL, "p50_us")
ITL_P99 = _latency("ITL p99", ITL, "p99_us", format_time_us)
ITL_MAX = _latency("ITL max", ITL, "max_us")
LONGEST_GAP = Kind("longest gap", "generation.longest_gap.gap_us", read_longest_gap_us, format_time_us)
GOODPUT = Kind("goodput", "goodput", read_goodput, format_share)
ERRORS = Kind("errors", "error_rate", read_error_rate, format_share)

PLAIN_KINDS = (
    REQUESTS,
    INFERENCES,
    P50,
    _latency("p90", "response", "p90_us"),
    P99,
    _latency("p99.9", "response", "p999_us"),
    SLOWEST,
    _latency("service p99", "service", "p99_us"),
    Kind("queue", "queue_us", read_queue_us, format_time_us),
    ERRORS,
)
TOKEN_KINDS = (
    REQUESTS,
    OUTPUT_TOKENS,
    GOODPUT,
    TTFT_P50,
    TTFT_P99,
    ITL_P50,
    ITL_P99,
    ITL_MAX,
    _latency("TPOT p50", TPOT, "p50_us"),
    P99.rename("e2e p99"),
    ERRORS,
)


def measures_tokens(report: LoadTestReport) -> bool:
    """Whether a report is one of token streams."""
    return any(point.generation for point in report.points)


def kinds_of(reports: Iterable[LoadTestReport]) -> tuple[Kind, ...]:
    """The figures of loads that stand in one table: those of streams where all reports are of streams."""
    return TOKEN_KINDS if all(map(measures_tokens, reports)) else PLAIN_KINDS
