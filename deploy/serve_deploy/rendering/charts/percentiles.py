"""Latencies by percentile, up to the slowest of all: of one load, or of several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Position, Scale, span_values
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_tick_us, format_time_us
from serve_deploy.reports.point import Point

_MARKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
_NAMED = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
_FIGURES = (*(name for name, _ in _NAMED), "max")
Threshold = tuple[float, float, str]


@dataclass(frozen=True)
class Climb:
    """Latencies as a line: its style, its name and what the legend says of it."""

    style: str
    name: str
    latency: LatencySummary
    label: str = ""


def draw_percentiles(point: Point, identifier: str, thresholds: Sequence[Threshold]) -> Chart:
    """Latency by percentile, the tail drawn out; `thresholds` are gates: (fraction, µs, expression)."""
    climbs = [
        Climb("response", "response time", point.response, "response time, from the intended send"),
        Climb("service", "service time", point.service, "service time, from the actual send"),
    ]
    return draw_climbs(climbs, climbs[:1], "percentile of requests", identifier, thresholds, _describe_tail(point))


def draw_climbs(
    climbs: Sequence[Climb],
    dotted: Sequence[Climb],
    axis: str,
    identifier: str,
    thresholds: Sequence[Threshold],
    lead: str,
) -> Chart:
    """Several kinds of latency of one load, the first on top, with dots at the percentiles that have a name."""
    marks = [*(time_us for _, time_us, _ in thresholds), *_list_ends(climbs)]
    deepest = _find_deepest(dotted)

    def draw(width: float) -> Drawing:
        plot = _frame(width, marks, deepest, axis)
        for climb in reversed(climbs):
            _draw_climb(plot, climb, deepest)
        for fraction, time_us, expression in thresholds:
            _draw_gate(plot, (plot.x(_stretch(min(fraction, deepest))), plot.y(time_us)), expression)
        for climb in dotted:
            _draw_dots(plot, climb)
        return plot.drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title="Latency by percentile",
        lead=lead,
        legend=tuple((climb.style, climb.label) for climb in climbs),
        columns=("", *(climb.name for climb in climbs)),
        rows=tuple(
            (name, *(format_time_us(_named(climb.latency, name)) for climb in climbs))
            for name in ("min", "mean", *_FIGURES)
        ),
    )


def draw_percentile_comparison(climbs: Sequence[Climb], what: str, of: str, identifier: str) -> Chart:
    """Latencies of several runs by percentile, a line a run; `of` says of what the percentiles are."""
    marks, deepest = _list_ends(climbs), _find_deepest(climbs)

    def draw(width: float) -> Drawing:
        plot = _frame(width, marks, deepest, f"percentile of {of}")
        for climb in climbs:
            _draw_climb(plot, climb, deepest)
        return plot.drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title="Run by run",
        alone="Latency by percentile, run by run",
        lead=f"The {what} by percentile: lower is better.",
        legend=tuple((climb.style, climb.name) for climb in climbs),
        columns=("run", *_FIGURES),
        rows=tuple(
            (climb.name, *(format_time_us(_named(climb.latency, figure)) for figure in _FIGURES)) for climb in climbs
        ),
    )


def _list_ends(climbs: Sequence[Climb]) -> list[float]:
    return [time_us for climb in climbs for time_us in (climb.latency.max_us, climb.latency.min_us)]


def _find_deepest(climbs: Sequence[Climb]) -> float:
    return max(0.999, 1 - 1 / max(2, *(climb.latency.count for climb in climbs)))


def _frame(width: float, marks: Sequence[float], deepest: float, axis: str) -> Plot:
    logarithmic = max(marks) > 10 * max(1.0, min((mark for mark in marks if mark > 0), default=1.0))
    y = Scale(*span_values(marks, logarithmic=logarithmic), 300 - BOTTOM, TOP, logarithmic)
    plot = Plot(Drawing(width, 300), Scale(0, _stretch(deepest), LEFT, width - RIGHT), y)
    plot.draw_y_axis(format_tick_us, 6)
    plot.draw_x_axis(_name_mark, axis, [_stretch(mark) for mark in _MARKS if mark <= deepest])
    return plot


def _draw_climb(plot: Plot, climb: Climb, deepest: float) -> None:
    steps = _climb(climb.latency, deepest)
    plot.drawing.path([(plot.x(_stretch(share)), plot.y(time)) for share, time in steps], f"line {climb.style}")


def _draw_dots(plot: Plot, climb: Climb) -> None:
    for name, fraction in _NAMED:
        time_us = _named(climb.latency, name)
        at = (plot.x(_stretch(fraction)), plot.y(time_us))
        plot.drawing.dot(at, 3.5, f"dot {climb.style}", f"{name} {format_time_us(time_us)}")


def _stretch(fraction: float) -> float:
    return -math.log10(1 - fraction)


def _name_mark(stretched: float) -> str:
    percent = 100 * (1 - 10.0**-stretched)
    return f"p{percent:.6g}"


def _climb(latency: LatencySummary, deepest: float) -> list[Position]:
    """(Fraction, time) at both ends of each bucket, from the fastest request to the slowest: the percentiles' steps."""
    if not latency.count or not latency.histogram:
        return []
    steps, seen = [(0.0, latency.min_us)], 0
    for bound, count in latency.histogram:
        time_us = max(latency.min_us, min(latency.max_us, float(bound)))
        ends = seen / latency.count, (seen + count) / latency.count
        steps += [(min(deepest, fraction), time_us) for fraction in ends]
        seen += count
    steps[-1] = (deepest, latency.max_us)
    return steps


def _draw_gate(plot: Plot, at: Position, expression: str) -> None:
    plot.drawing.line((plot.x.start, at[1]), (plot.x.end, at[1]), "gate")
    plot.drawing.text((plot.x.start + 6, at[1] - 5), expression, "gate-name")
    plot.drawing.dot(at, 3, "gate-mark", expression)


def _named(latency: LatencySummary, name: str) -> float:
    return float(getattr(latency, f"{name.replace('.', '')}_us"))


def _describe_tail(point: Point) -> str:
    response, service = point.response, point.service
    if not response.count:
        return "No request was answered."
    if service.count and response.p99_us > 1.5 * service.p99_us:
        return (
            f"One in a hundred callers waited {format_time_us(response.p99_us)} or longer, though the requests "
            f"themselves took {format_time_us(service.p99_us)}: the rest was spent waiting to be sent."
        )
    half, slow = format_time_us(response.p50_us), format_time_us(response.p99_us)
    return f"Half the requests took {half} or less; one in a hundred took {slow} or longer."
