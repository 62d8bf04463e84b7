"""How latencies are distributed: how many took how long, on a logarithmic time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Scale
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_count, format_tick_us, format_time_us
from serve_deploy.reports.point import Point

_HEIGHT = 240.0
_TABLE_BINS = 24
_COUNTS = (0, *(factor * 10**power for power in range(9) for factor in (1, 3)))


@dataclass(frozen=True)
class Layer:
    """Latencies in one style: the first layer is drawn as bars, the others as outlines over it."""

    style: str
    label: str
    column: str
    latency: LatencySummary


@dataclass(frozen=True)
class Distribution:
    """What a histogram is of; with `shows_rare` a few stand out, and the longest is named, as `axis` says in words."""

    title: str
    lead: str
    of: str
    axis: str
    layers: tuple[Layer, ...]
    shows_rare: bool = False


def draw_histogram(point: Point, identifier: str) -> Chart:
    """How many requests took how long; the two kinds of latency one over the other."""
    layers = (
        Layer("response", "response time, from the intended send", "requests by response time", point.response),
        Layer("service", "service time, from the actual send", "requests by service time", point.service),
    )
    lead = f"{format_count(point.response.count)} requests by how long they took."
    axis = "latency (requests on a square-root scale)"
    return draw_distribution(Distribution("Distribution of latencies", lead, "requests", axis, layers), identifier)


def draw_distribution(asked: Distribution, identifier: str) -> Chart:
    """A histogram for wide and narrow screens, and its numbers."""
    bounds = [bound for layer in asked.layers for bound, _ in layer.latency.histogram]
    low, high = max(1, min(bounds, default=1)) / 1.1, max(bounds, default=10) * 1.1

    def bin_all(bins: int) -> list[list[int]]:
        return [_bin(layer.latency.histogram, low, high, bins) for layer in asked.layers]

    def draw(width: float) -> Drawing:
        return _draw_bins(width, low, high, asked, bin_all(48 if width < 500 else 96))

    edges = [low * (high / low) ** (index / _TABLE_BINS) for index in range(_TABLE_BINS + 1)]
    return draw_chart(
        draw,
        identifier=identifier,
        title=asked.title,
        lead=asked.lead,
        legend=tuple((layer.style, layer.label) for layer in asked.layers),
        columns=("from", "to", *(layer.column for layer in asked.layers)),
        rows=tuple(
            (format_time_us(lower), format_time_us(upper), *map(format_count, counts))
            for lower, upper, *counts in zip(edges, edges[1:], *bin_all(_TABLE_BINS), strict=False)
            if any(counts)
        ),
    )


def _draw_bins(width: float, low: float, high: float, asked: Distribution, layers: list[list[int]]) -> Drawing:
    drawing = Drawing(width, _HEIGHT)
    highest, bins = max(map(max, layers)), len(layers[0])
    stretch = _stretch_rare if asked.shows_rare else math.sqrt
    x = Scale(low, high, LEFT, width - RIGHT, logarithmic=True)
    plot = Plot(drawing, x, Scale(0, stretch(highest * 1.05) or 1, _HEIGHT - BOTTOM, TOP))
    _mark_counts(plot, highest, stretch)
    plot.draw_x_axis(format_tick_us, asked.axis)
    step = (x.end - x.start) / bins
    for index, count in enumerate(layers[0]):
        if count:
            top = plot.y(stretch(count))
            of = asked.of.removesuffix("s") if count == 1 else asked.of
            hint = f"{format_count(count)} {of} about {format_time_us(_middle(low, high, bins, index))}"
            style = f"fill {asked.layers[0].style}"
            drawing.rectangle((x.start + index * step, top), (step * 0.86, plot.y.start - top), style, hint)
    for layer, counts in zip(asked.layers[1:], layers[1:], strict=True):
        outline = [
            (x.start + (index + side) * step, plot.y(stretch(count)))
            for index, count in enumerate(counts)
            for side in (0, 1)
        ]
        drawing.path(outline, f"line {layer.style} thin")
    if asked.shows_rare:
        _name_longest(plot, asked.layers[0].latency, plot.y(stretch(layers[0][-1])))
    return drawing


def _stretch_rare(count: float) -> float:
    """Makes a single one among a hundred thousand visible."""
    return math.log10(1 + count)


def _name_longest(plot: Plot, latency: LatencySummary, bar: float) -> None:
    """Above all bars, with a line down to its own, so that no bar is covered."""
    at = plot.x(latency.max_us)
    plot.drawing.text((plot.x.end, TOP + 8), f"longest {format_time_us(latency.max_us)}", "point-name", "end")
    plot.drawing.line((at, TOP + 13), (at, max(bar - 4, TOP + 13)), "divider")


def _mark_counts(plot: Plot, highest: int, stretch: Callable[[float], float]) -> None:
    below = math.inf
    for count in _COUNTS:
        at = plot.y(stretch(count))
        if count <= highest and below - at >= 18:
            below = at
            plot.drawing.line((plot.x.start, at), (plot.x.end, at), "grid")
            plot.drawing.text((plot.x.start - 8, at + 4), format_count(count), "tick", "end")


def _bin(histogram: Sequence[tuple[int, int]], low: float, high: float, bins: int) -> list[int]:
    counts = [0] * bins
    for bound, count in histogram:
        share = math.log(max(bound, low) / low) / math.log(high / low)
        counts[min(bins - 1, int(share * bins))] += count
    return counts


def _middle(low: float, high: float, bins: int, index: int) -> float:
    return low * float((high / low) ** ((index + 0.5) / bins))
