"""What more load buys: latency against throughput over the loads of a sweep, of one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, Chart, Plot, draw_both
from serve_deploy.rendering.charts.svg import Drawing, Position, Scale, span_values
from serve_deploy.reports.figures import format_load, format_number, format_plainly, format_tick_us, format_time_us
from serve_deploy.reports.point import Load, Point

LEGEND = (("tail", "p99 response time"), ("response", "p50 response time"), ("bound", "client-bound: not the server's"))
_HEIGHT, _TOP = 320.0, 24.0


@dataclass(frozen=True)
class Line:
    """The loads of one run, in ascending order, pooled over repeats."""

    name: str
    points: tuple[Point, ...]
    style: str = "tail"


def draw_curve(points: Sequence[Point], identifier: str) -> Chart:
    """One run's sweep: p50 and p99 by the throughput that was reached."""
    answered = [point for point in points if point.response.count]

    def draw(width: float) -> Drawing:
        plot = _frame([time for point in answered for time in (point.response.p50_us, point.response.p99_us)],
                      [point.throughput for point in answered], width)  # fmt: skip
        for style, name in (("response", "p50_us"), ("tail", "p99_us")):
            _draw_line(plot, answered, style, name)
        _label_loads(plot, answered)
        return plot.drawing

    wide, narrow = draw_both(identifier, "Latency by throughput", draw)
    return Chart(
        identifier=identifier,
        title="Latency by throughput",
        lead=_describe(answered),
        legend=LEGEND if any(point.client_bound for point in answered) else LEGEND[:2],
        wide=wide,
        narrow=narrow,
        columns=("load", "inferences/s", "p50", "p99"),
        rows=tuple(_row(point) for point in answered),
    )


def draw_comparison(lines: Sequence[Line], identifier: str) -> Chart:
    """The p99 of several runs by the throughput that each reached."""
    points = [point for line in lines for point in line.points]

    def draw(width: float) -> Drawing:
        plot = _frame([point.response.p99_us for point in points], [point.throughput for point in points], width)
        for line in lines:
            _draw_line(plot, line.points, line.style, "p99_us")
        return plot.drawing

    wide, narrow = draw_both(identifier, "Latency by throughput, run by run", draw)
    return Chart(
        identifier=identifier,
        title="Run by run",
        lead="The p99 response time by the throughput that was reached: lower and further right is better.",
        legend=tuple((line.style, line.name) for line in lines),
        wide=wide,
        narrow=narrow,
        columns=("run", "load", "inferences/s", "p50", "p99"),
        rows=tuple((line.name, *_row(point)) for line in lines for point in line.points),
    )


def _frame(times: Sequence[float], throughputs: Sequence[float], width: float) -> Plot:
    drawing = Drawing(width, _HEIGHT)
    logarithmic = max(times, default=1) > 10 * min((time for time in times if time > 0), default=1)
    y = Scale(*span_values(times, logarithmic=logarithmic), _HEIGHT - BOTTOM, _TOP, logarithmic)
    x = Scale(*span_values(throughputs, logarithmic=False), LEFT, width - RIGHT)
    plot = Plot(drawing, x, y)
    plot.draw_y_axis(format_tick_us, 6)
    plot.draw_x_axis(format_plainly, "throughput, inferences/s")
    return plot


def _draw_line(plot: Plot, points: Sequence[Point], style: str, figure: str) -> None:
    places = [(plot.x(point.throughput), plot.y(getattr(point.response, figure))) for point in points]
    plot.drawing.path(places, f"line {style}")
    for point, place in zip(points, places, strict=True):
        name = figure.removesuffix("_us")
        hint = f"{format_load(point.load)}: {name} {format_time_us(getattr(point.response, figure))}"
        plot.drawing.dot(place, 4, f"dot {style}{' hollow' if point.client_bound else ''}", hint)


def _label_loads(plot: Plot, points: Sequence[Point]) -> None:
    """Name each point beside it, but never over a line or another name."""
    places = [(plot.x(point.throughput), plot.y(point.response.p99_us)) for point in points]
    taken = [spot for start, end in pairwise(places) for spot in _spots(start, end)]
    for point, (x, y) in zip(points, places, strict=True):
        name = _short_load(point.load)
        room = 7.0 * len(name)
        for left, base in ((x - 9 - room, y - 6), (x + 9, y - 6), (x + 9, y + 16), (x - 9 - room, y + 16)):
            free = not any(left < at < left + room and base - 12 < height < base + 3 for at, height in taken)
            if free and plot.x.start < left and left + room < plot.drawing.width:
                plot.drawing.text((left, base), name, "point-name")
                taken += _spots((left, base - 4), (left + room, base - 4))
                break


def _spots(start: Position, end: Position) -> list[Position]:
    """A straight line as points close to each other."""
    return [tuple(a + (b - a) * step / 40 for a, b in zip(start, end, strict=True)) for step in range(41)]  # type: ignore[misc]


def _short_load(load: Load) -> str:
    return f"c={load.concurrency}" if load.mode == "closed" else format_load(load)


def _row(point: Point) -> tuple[str, ...]:
    bound = " (client-bound)" if point.client_bound else ""
    return (
        f"{format_load(point.load)}{bound}",
        format_number(point.throughput, 4),
        format_time_us(point.response.p50_us),
        format_time_us(point.response.p99_us),
    )


def _describe(points: Sequence[Point]) -> str:
    trusted = [point for point in points if not point.client_bound]
    if not trusted:
        return "The load generator was the limit at every load, so this says nothing about the server."
    best = max(trusted, key=lambda point: point.throughput)
    return (
        f"Highest throughput: {format_number(best.throughput, 4)} inferences/s at "
        f"{format_load(best.load)}, with a p99 of {format_time_us(best.response.p99_us)}."
    )
