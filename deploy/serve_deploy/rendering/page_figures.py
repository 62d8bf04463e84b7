"""The figures of the HTML page: each as it is shown, and as the report has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serve_deploy.rendering.gauges import describe_gauges
from serve_deploy.rendering.summary import LoadSummary, describe_margin
from serve_deploy.reports.figures import format_count, format_load, format_number, format_share, format_time_us
from serve_deploy.reports.point import Point
from serve_deploy.reports.readers import latency_reader, read_error_rate, read_queue_us

Read = Callable[[Point], float | None]
Write = Callable[[float], str]


@dataclass(frozen=True)
class Figure:
    """A number as it is shown, and as the report has it under `key`; `margin` says its 95 % interval."""

    key: str
    value: float
    text: str
    margin: str = ""


@dataclass(frozen=True)
class Kind:
    """A figure that every load has: what it is called, where a point has it, how it is written."""

    label: str
    key: str
    read: Read
    write: Write


def _latency(label: str, clock: str, figure: str) -> Kind:
    return Kind(label, f"{clock}.{figure}", latency_reader(clock, figure), format_time_us)


def _write_rate(value: float) -> str:
    return format_number(value, 4)


LOAD_KINDS = (
    Kind("requests/s", "request_rate", lambda point: point.request_rate, _write_rate),
    Kind("inferences/s", "throughput", lambda point: point.throughput, _write_rate),
    _latency("p50", "response", "p50_us"),
    _latency("p90", "response", "p90_us"),
    _latency("p99", "response", "p99_us"),
    _latency("p99.9", "response", "p999_us"),
    _latency("max", "response", "max_us"),
    _latency("service p99", "service", "p99_us"),
    Kind("queue", "queue_us", read_queue_us, format_time_us),
    Kind("errors", "error_rate", read_error_rate, format_share),
)
_TILE_KINDS = (
    Kind("inferences/s", "throughput", lambda point: point.throughput, _write_rate),
    _latency("p50 response", "response", "p50_us"),
    _latency("p99 response", "response", "p99_us"),
    _latency("slowest", "response", "max_us"),
    Kind("errors", "error_rate", read_error_rate, format_share),
)


def make_tiles(load: LoadSummary, anchor: str) -> tuple[tuple[str, Figure], ...]:
    """The few figures to see first, with their labels."""
    found = [(kind.label, _make_figure(load, kind, anchor)) for kind in _TILE_KINDS]
    sent = _count(load.pooled, anchor, "sent", "")
    return (*((label, figure) for label, figure in found if figure is not None), ("requests", sent))


def make_row(load: LoadSummary, anchor: str) -> tuple[Figure | None, ...]:
    """The figures of a load's row, in the order of LOAD_KINDS."""
    return tuple(_make_figure(load, kind, anchor) for kind in LOAD_KINDS)


def make_facts(point: Point, anchor: str) -> tuple[tuple[str, tuple[Figure, ...]], ...]:
    """What became of the requests, what the generator cost, and how the server's machine fared."""
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
        ("requests", tuple(counts)), ("in flight", (in_flight,)), ("generator", generator), ("server machine", machine),
    )  # fmt: skip
    return tuple((name, figures) for name, figures in facts if figures)


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
