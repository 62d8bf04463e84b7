"""What more load buys: latency against throughput over the loads of a sweep, of one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Position, Scale, span_values
from serve_deploy.rendering.load_kinds import INFERENCES, ITL_P99, OUTPUT_TOKENS, P50, P99, TTFT_P99, Kind
from serve_deploy.reports.figures import format_load, format_plainly, format_tick_us, format_time_us
from serve_deploy.reports.point import Load, Point

_HEIGHT, _TOP = 320.0, 24.0


@dataclass(frozen=True)
class Line:
    """The loads of one run, in ascending order, pooled over repeats."""

    name: str
    points: tuple[Point, ...]
    style: str = "tail"


@dataclass(frozen=True)
class Axes:
    """What is drawn over what: latencies, each with its style and legend, over a throughput; the last names a load."""

    title: str
    label: str
    throughput: Kind
    latencies: tuple[tuple[str, str, Kind], ...]

    @property
    def last(self) -> Kind:
        """The latency that stands for a load."""
        return self.latencies[-1][2]


PLAIN_AXES = Axes(
    "Latency by throughput",
    "throughput, inferences/s",
    INFERENCES,
    (("response", "p50 response time", P50), ("tail", "p99 response time", P99)),
)
TOKEN_AXES = Axes(
    "Latency by output tokens",
    "output tokens/s",
    OUTPUT_TOKENS,
    (("response", "ITL p99", ITL_P99), ("tail", "TTFT p99", TTFT_P99)),
)
_BOUND = ("bound", "client-bound: not the server's")


def draw_curve(points: Sequence[Point], axes: Axes, identifier: str) -> Chart:
    """One run's sweep: latencies by the throughput that was reached."""
    answered = [point for point in points if point.response.count]

    def draw(width: float) -> Drawing:
        plot = _frame(answered, axes, [kind for _, _, kind in axes.latencies], width)
        for style, _, kind in axes.latencies:
            _draw_line(plot, answered, axes, kind, style)
        _label_loads(plot, answered, axes)
        return plot.drawing

    legend = tuple((style, label) for style, label, _ in reversed(axes.latencies))
    return draw_chart(
        draw,
        identifier=identifier,
        title=axes.title,
        lead=_describe(answered, axes),
        legend=(*legend, _BOUND) if any(point.client_bound for point in answered) else legend,
        columns=("load", *_columns(axes)),
        rows=tuple(_row(point, axes) for point in answered),
    )


def draw_comparison(lines: Sequence[Line], axes: Axes, latency: int, identifier: str) -> Chart:
    """One latency, by its place in the axes, of several runs by the throughput that each reached."""
    _, name, kind = axes.latencies[latency]
    points = [point for line in lines for point in line.points]

    def draw(width: float) -> Drawing:
        plot = _frame(points, axes, [kind], width)
        for line in lines:
            _draw_line(plot, line.points, axes, kind, line.style)
        return plot.drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title="Run by run",
        alone="Latency by throughput, run by run",
        lead=f"The {name} by the throughput that was reached: lower and further right is better.",
        legend=tuple((line.style, line.name) for line in lines),
        columns=("run", "load", *_columns(axes)),
        rows=tuple((line.name, *_row(point, axes)) for line in lines for point in line.points),
    )


def _columns(axes: Axes) -> tuple[str, ...]:
    return (axes.throughput.label, *(kind.label for _, _, kind in axes.latencies))


def _frame(points: Sequence[Point], axes: Axes, kinds: Sequence[Kind], width: float) -> Plot:
    drawing = Drawing(width, _HEIGHT)
    times = [kind.read(point) or 0.0 for point in points for kind in kinds]
    logarithmic = max(times, default=1) > 10 * min((time for time in times if time > 0), default=1)
    y = Scale(*span_values(times, logarithmic=logarithmic), _HEIGHT - BOTTOM, _TOP, logarithmic)
    throughputs = [axes.throughput.read(point) or 0.0 for point in points]
    x = Scale(*span_values(throughputs, logarithmic=False), LEFT, width - RIGHT)
    plot = Plot(drawing, x, y)
    plot.draw_y_axis(format_tick_us, 6)
    plot.draw_x_axis(format_plainly, axes.label)
    return plot


def _draw_line(plot: Plot, points: Sequence[Point], axes: Axes, kind: Kind, style: str) -> None:
    measured = [(point, time_us) for point in points if (time_us := kind.read(point)) is not None]
    places = [(plot.x(axes.throughput.read(point) or 0.0), plot.y(time_us)) for point, time_us in measured]
    plot.drawing.path(places, f"line {style}")
    for (point, time_us), place in zip(measured, places, strict=True):
        hint = f"{format_load(point.load)}: {kind.label} {format_time_us(time_us)}"
        plot.drawing.dot(place, 4, f"dot {style}{' hollow' if point.client_bound else ''}", hint)


def _label_loads(plot: Plot, points: Sequence[Point], axes: Axes) -> None:
    """Name each point beside it, but never over a line or another name."""
    places = [(plot.x(axes.throughput.read(point) or 0.0), plot.y(axes.last.read(point) or 0.0)) for point in points]
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


def _row(point: Point, axes: Axes) -> tuple[str, ...]:
    bound = " (client-bound)" if point.client_bound else ""
    kinds = (axes.throughput, *(kind for _, _, kind in axes.latencies))
    return (f"{format_load(point.load)}{bound}", *(_write(kind, point) for kind in kinds))


def _write(kind: Kind, point: Point) -> str:
    value = kind.read(point)
    return "–" if value is None else kind.write(value)


def _describe(points: Sequence[Point], axes: Axes) -> str:
    trusted = [point for point in points if not point.client_bound]
    if not trusted:
        return "The load generator was the limit at every load, so this says nothing about the server."
    best = max(trusted, key=lambda point: axes.throughput.read(point) or 0.0)
    return (
        f"Highest throughput: {_write(axes.throughput, best)} {axes.throughput.label} at "
        f"{format_load(best.load)}, with a {axes.last.label} of {_write(axes.last, best)}."
    )
