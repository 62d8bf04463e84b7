"""How the latencies of one load are distributed: percentiles up to the last request, and a histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_both
from serve_deploy.rendering.charts.svg import Drawing, Position, Scale, span_values
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_count, format_tick_us, format_time_us
from serve_deploy.reports.point import Point

_MARKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
_TABLE_BINS = 24
_COUNTS = (0, *(factor * 10**power for power in range(9) for factor in (1, 3)))
_NAMED = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
LEGEND = (("response", "response time, from the intended send"), ("service", "service time, from the actual send"))


def draw_percentiles(point: Point, identifier: str, thresholds: Sequence[tuple[float, float, str]]) -> Chart:
    """Latency by percentile, the tail drawn out; `thresholds` are gates: (fraction, µs, expression)."""
    latencies = (("service", point.service), ("response", point.response))
    marks = [*(time_us for _, time_us, _ in thresholds), point.response.max_us, point.response.min_us]
    marks += [point.service.min_us, point.service.max_us]
    logarithmic = max(marks) > 10 * max(1.0, min(mark for mark in marks if mark > 0))
    deepest = max(0.999, 1 - 1 / max(2, point.response.count))

    def draw(width: float) -> Drawing:
        plot = _frame(width, span_values(marks, logarithmic=logarithmic), deepest, logarithmic=logarithmic)
        for name, latency in latencies:
            _draw_climb(plot, latency, deepest, name)
        for fraction, time_us, expression in thresholds:
            _draw_gate(plot, (plot.x(_stretch(min(fraction, deepest))), plot.y(time_us)), expression)
        for name, fraction in _NAMED:
            time_us = _named(point.response, name)
            at = (plot.x(_stretch(fraction)), plot.y(time_us))
            plot.drawing.dot(at, 3.5, "dot response", f"{name} {format_time_us(time_us)}")
        return plot.drawing

    wide, narrow = draw_both(identifier, "Latency by percentile", draw)
    return Chart(
        identifier=identifier,
        title="Latency by percentile",
        lead=_describe_tail(point),
        legend=LEGEND,
        wide=wide,
        narrow=narrow,
        columns=("", "response time", "service time"),
        rows=tuple(
            (name, format_time_us(_named(point.response, name)), format_time_us(_named(point.service, name)))
            for name in ("min", "mean", *(name for name, _ in _NAMED), "max")
        ),
    )


def draw_percentile_comparison(lines: Sequence[tuple[str, str, LatencySummary]], identifier: str) -> Chart:
    """The response time of several runs by percentile; `lines` are (style, name, latencies)."""
    marks = [time for _, _, latency in lines for time in (latency.min_us, latency.max_us)]
    logarithmic = max(marks) > 10 * max(1.0, min(marks))
    deepest = max(0.999, 1 - 1 / max(2, *(latency.count for _, _, latency in lines)))

    def draw(width: float) -> Drawing:
        plot = _frame(width, span_values(marks, logarithmic=logarithmic), deepest, logarithmic=logarithmic)
        for style, _, latency in lines:
            _draw_climb(plot, latency, deepest, style)
        return plot.drawing

    wide, narrow = draw_both(identifier, "Latency by percentile, run by run", draw)
    return Chart(
        identifier=identifier,
        title="Run by run",
        lead="The response time by percentile: lower is better.",
        legend=tuple((style, name) for style, name, _ in lines),
        wide=wide,
        narrow=narrow,
        columns=("run", *(name for name, _ in _NAMED), "max"),
        rows=tuple(
            (name, *(format_time_us(_named(latency, figure)) for figure in (*(name for name, _ in _NAMED), "max")))
            for _, name, latency in lines
        ),
    )


def _frame(width: float, span: tuple[float, float], deepest: float, *, logarithmic: bool) -> Plot:
    drawing = Drawing(width, 300)
    y = Scale(*span, 300 - BOTTOM, TOP, logarithmic)
    plot = Plot(drawing, Scale(0, _stretch(deepest), LEFT, width - RIGHT), y)
    plot.draw_y_axis(format_tick_us, 6)
    shown = [_stretch(mark) for mark in _MARKS if mark <= deepest]
    plot.draw_x_axis(_name_mark, "percentile of requests", shown)
    return plot


def _draw_climb(plot: Plot, latency: LatencySummary, deepest: float, style: str) -> None:
    climb = _climb(latency, deepest)
    plot.drawing.path([(plot.x(_stretch(share)), plot.y(time)) for share, time in climb], f"line {style}")


def draw_histogram(point: Point, identifier: str) -> Chart:
    """How many requests took how long, on a logarithmic time axis; the two kinds of latency one over the other."""
    bounds = [bound for latency in (point.response, point.service) for bound, _ in latency.histogram]
    low, high = max(1, min(bounds, default=1)) / 1.1, max(bounds, default=10) * 1.1

    def bin_both(bins: int) -> tuple[list[int], list[int]]:
        return tuple(_bin(latency.histogram, low, high, bins) for latency in (point.response, point.service))  # type: ignore[return-value]

    def draw(width: float) -> Drawing:
        return _draw_bins(width, low, high, *bin_both(48 if width < 500 else 96))

    wide, narrow = draw_both(identifier, "Distribution of latencies", draw)
    edges = [low * (high / low) ** (index / _TABLE_BINS) for index in range(_TABLE_BINS + 1)]
    return Chart(
        identifier=identifier,
        title="Distribution of latencies",
        lead=f"{format_count(point.response.count)} requests by how long they took.",
        legend=LEGEND,
        wide=wide,
        narrow=narrow,
        columns=("from", "to", "requests by response time", "requests by service time"),
        rows=tuple(
            (format_time_us(lower), format_time_us(upper), format_count(response), format_count(service))
            for lower, upper, response, service in zip(edges, edges[1:], *bin_both(_TABLE_BINS), strict=False)
            if response or service
        ),
    )


def _draw_bins(width: float, low: float, high: float, response: list[int], service: list[int]) -> Drawing:
    drawing = Drawing(width, 240)
    highest, bins = max(*response, *service), len(response)
    x = Scale(low, high, LEFT, width - RIGHT, logarithmic=True)
    plot = Plot(drawing, x, Scale(0, math.sqrt(highest * 1.05) or 1, 240 - BOTTOM, TOP))
    _mark_counts(plot, highest)
    plot.draw_x_axis(format_tick_us, "latency (requests on a square-root scale)")
    step = (x.end - x.start) / bins
    for index, count in enumerate(response):
        if count:
            top = plot.y(math.sqrt(count))
            hint = f"{format_count(count)} requests about {format_time_us(_middle(low, high, bins, index))}"
            drawing.rectangle((x.start + index * step, top), (step * 0.86, plot.y.start - top), "fill response", hint)
    outline = [
        (x.start + (index + side) * step, plot.y(math.sqrt(count)))
        for index, count in enumerate(service)
        for side in (0, 1)
    ]
    drawing.path(outline, "line service thin")
    return drawing


def _mark_counts(plot: Plot, highest: int) -> None:
    below = math.inf
    for count in _COUNTS:
        at = plot.y(math.sqrt(count))
        if count <= highest and below - at >= 18:
            below = at
            plot.drawing.line((plot.x.start, at), (plot.x.end, at), "grid")
            plot.drawing.text((plot.x.start - 8, at + 4), format_count(count), "tick", "end")


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


def _bin(histogram: Sequence[tuple[int, int]], low: float, high: float, bins: int) -> list[int]:
    counts = [0] * bins
    for bound, count in histogram:
        share = math.log(max(bound, low) / low) / math.log(high / low)
        counts[min(bins - 1, int(share * bins))] += count
    return counts


def _middle(low: float, high: float, bins: int, index: int) -> float:
    return low * float((high / low) ** ((index + 0.5) / bins))
