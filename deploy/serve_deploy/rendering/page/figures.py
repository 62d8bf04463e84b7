"""The figures of the HTML page: each as it is shown, and as the report has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.rendering.gauges import describe_gauges
from serve_deploy.rendering.load_kinds import (
    ERRORS,
    GOODPUT,
    INFERENCES,
    ITL_P99,
    LONGEST_GAP,
    OUTPUT_TOKENS,
    P50,
    P99,
    SLOWEST,
    TTFT_P50,
    TTFT_P99,
    Kind,
)
from serve_deploy.rendering.summary import LoadSummary, describe_margin
from serve_deploy.rendering.token_words import describe_gap, describe_goodput
from serve_deploy.reports.figures import format_count, format_load, format_number, format_share, format_time_us
from serve_deploy.reports.point import Point
from serve_deploy.reports.readers import read_goodput


@dataclass(frozen=True)
class Figure:
    """A number as it is shown, and as the report has it under `key`; `margin` says its 95 % interval."""

    key: str
    value: float
    text: str
    margin: str = ""


_TILES = (INFERENCES, P50.rename("p50 response"), P99.rename("p99 response"), SLOWEST.rename("slowest"), ERRORS)
_TOKEN_TILES = (OUTPUT_TOKENS, TTFT_P50, TTFT_P99, ITL_P99, LONGEST_GAP, GOODPUT, ERRORS)


def make_tiles(load: LoadSummary, anchor: str) -> tuple[tuple[str, Figure], ...]:
    """The few figures to see first, with their labels."""
    kinds = _TOKEN_TILES if load.pooled.generation else _TILES
    found = [(kind.label, _make_figure(load, kind, anchor)) for kind in kinds]
    sent = _count(load.pooled, anchor, "sent", "")
    return (*((label, figure) for label, figure in found if figure is not None), ("requests", sent))


def make_row(load: LoadSummary, kinds: Sequence[Kind], anchor: str) -> tuple[Figure | None, ...]:
    """The figures of a load's row."""
    return tuple(_make_figure(load, kind, anchor) for kind in kinds)


def make_facts(load: LoadSummary, anchor: str) -> tuple[tuple[str, tuple[Figure, ...]], ...]:
    """What became of the requests, what the generator cost, and how the server's machine fared."""
    point = load.pooled
    counts = [
        _count(point, anchor, name, label)
        for name, label in (
            ("sent", " sent"), ("succeeded", " succeeded"), ("failed", " failed"), ("timed_out", " timed out"),
            ("in_flight_at_end", " unanswered at the end"), ("never_sent", " never sent"),
        )
        if name in ("sent", "succeeded") or getattr(point, name)
    ]  # fmt: skip
    key, client = _key(point, anchor), point.client
    in_flight = Figure(
        f"{key}mean_in_flight", point.mean_in_flight, f"{format_number(point.mean_in_flight)} on average"
    )
    generator = (
        Figure(f"{key}client.cpu_fraction", client.cpu_fraction, f"{format_share(client.cpu_fraction)} CPU"),
        Figure(f"{key}client.slip_p99_us", client.slip_p99_us, f"slip p99 {format_time_us(client.slip_p99_us)}"),
        Figure(f"{key}client.slip_max_us", client.slip_max_us, f"max {format_time_us(client.slip_max_us)}"),
    )
    machine = tuple(Figure(f"{key}{gauge.key}", gauge.value, gauge.text) for gauge in describe_gauges(point))
    facts = (
        ("requests", tuple(counts)), *_token_facts(load, anchor),
        ("in flight", (in_flight,)), ("generator", generator), ("server machine", machine),
    )  # fmt: skip
    return tuple((name, figures) for name, figures in facts if figures)


def _token_facts(load: LoadSummary, anchor: str) -> list[tuple[str, tuple[Figure, ...]]]:
    """How many tokens there were, which requests were good, and the longest gap."""
    point = load.pooled
    generation, key, share = point.generation, _key(point, anchor), read_goodput(point)
    if generation is None:
        return []
    labels = {"output_tokens": "output tokens", "pieces": "pieces", "input_tokens": "input tokens"}
    known = {name: getattr(generation, name) for name in labels}
    counts = tuple(
        Figure(f"{key}generation.{name}", value, f"{format_count(value)} {labels[name]}")
        for name, value in known.items()
        if value is not None
    )
    goodput = () if share is None else (Figure(f"{key}goodput", share, describe_goodput(point)),)
    gap = generation.longest_gap
    longest = (Figure(f"{key}generation.longest_gap.gap_us", gap.gap_us, describe_gap(load.repeats)),) if gap else ()
    return [("tokens", counts), ("goodput", goodput), ("longest gap", longest)]


def _make_figure(load: LoadSummary, kind: Kind, anchor: str) -> Figure | None:
    value = kind.read(load.pooled)
    if value is None:
        return None
    interval = load.interval(kind.read)
    margin = describe_margin(interval, kind.write) if interval and interval.high else ""
    return Figure(f"{_key(load.pooled, anchor)}{kind.key}", value, kind.write(value), margin)


def _count(point: Point, anchor: str, name: str, label: str) -> Figure:
    count = getattr(point, name)
    return Figure(f"{_key(point, anchor)}{name}", count, f"{format_count(count)}{label}")


def _key(point: Point, anchor: str) -> str:
    return f"{anchor}/{format_load(point.load)}/"
