"""Write a load test's figures for a person: three significant digits, the unit that fits, the load in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from serve_deploy.reports.point import Load, RequestData

METRIC_NAMES = {
    "response_p50": "p50", "response_p99": "p99", "throughput": "throughput", "error_rate": "errors",
    "ttft_p50": "TTFT p50", "ttft_p99": "TTFT p99", "itl_p99": "ITL p99", "output_tokens": "output tokens",
    "goodput": "goodput",
}  # fmt: skip


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, but never drop a digit before the point."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded if decimals else value:,.{decimals}f}"


def format_plainly(value: float) -> str:
    """Write a round number or one that somebody gave: six significant digits, thousands separated, no exponent."""
    return f"{Decimal(f'{value:.6g}'):,f}" if math.isfinite(value) else f"{value}"


def format_time_us(value_us: float) -> str:
    """Write microseconds as µs, ms or s."""
    if abs(value_us) >= 999_500:
        return f"{format_number(value_us / 1e6)} s"
    if abs(value_us) >= 999.5:
        return f"{format_number(value_us / 1e3)} ms"
    return f"{format_number(value_us)} µs"


def format_tick_us(value_us: float) -> str:
    """Write a round time for an axis, without zeros at the end."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if value_us >= size * 0.9999:
            return f"{value_us / size:.6g} {unit}"
    return f"{value_us:.6g} µs" if value_us else "0"


def format_share(fraction: float) -> str:
    """Write a fraction as per cent."""
    return f"{format_number(fraction * 100)} %"


def format_list(items: Sequence[str]) -> str:
    """Write 'a', 'a and b' or 'a, b and c'."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def format_change(fraction: float) -> str:
    """Write a relative change with its sign, in per cent."""
    return f"{'+' if fraction > 0 else '−' if fraction < 0 else '±'}{format_number(abs(fraction) * 100)} %"


def format_count(value: int) -> str:
    """Write a count with thousands separated."""
    return f"{value:,}"


def format_moment(timestamp: str) -> str:
    """Write an ISO 8601 timestamp as date and time with its zone."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".rstrip()


def format_load(load: Load) -> str:
    """Say what was asked: 'concurrency 8', '200/s', '200/s poisson', 'concurrency 8, batch 4'."""
    if load.mode == "closed":
        words = f"concurrency {load.concurrency}" + (f" shared by {load.shared_by} models" if load.shared_by else "")
    elif load.ramp_from is not None and load.ramp_to is not None:
        words = f"{format_plainly(load.ramp_from)}/s to {format_plainly(load.ramp_to)}/s"
    elif load.distribution == "replay":
        words = f"replay of {load.replay_of}" if load.replay_of else "replay"
    elif load.request_rate is None:
        words = str(load.distribution or "open loop")
    else:
        shape = "" if load.distribution in (None, "constant") else f" {load.distribution}"
        words = f"{format_plainly(load.request_rate)}/s{shape}"
    return words if load.batch_size == 1 else f"{words}, batch {load.batch_size}"


def describe_data(data: RequestData) -> str:
    """Say what the requests held: '32 samples of models/digits/samples.npz', 'random values (seed 0)'."""
    if data.description:
        return f"{data.path}: {data.description}" if data.path else data.description
    if data.origin == "random":
        return f"random values made from the model's metadata (seed {data.seed})"
    kept = "kept by serve package" if data.origin == "package" else "given"
    return f"{format_count(data.samples)} sample{'' if data.samples == 1 else 's'} of {data.path} ({kept})"
