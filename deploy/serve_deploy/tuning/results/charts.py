"""The charts of a tuning: the front, predicted beside measured, and each field's effect. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Scale, span_values
from serve_deploy.reports.figures import format_number, format_plainly, format_share, format_tick_us, format_time_us
from serve_deploy.tuning.candidates.candidate import describe_value
from serve_deploy.tuning.results.result import FieldEffect, Figures, TunedCandidate, TuningResult

_HEIGHT, _ROW, _BAR = 320.0, 46.0, 9.0
_LINES = ("flight", "response", "tail", "answers", "service", "failure", "queue", "peak", "output")


def draw_charts(result: TuningResult) -> tuple[Chart, ...]:
    """All that there is something to draw for."""
    raced = [each for each in (result.baseline, *result.race) if each.measured]
    effects = [_draw_effect(effect, f"effect-{number}") for number, effect in enumerate(result.effects)]
    return (_draw_front(raced), _draw_predictions(raced), *effects)


def _places(each: TunedCandidate) -> list[tuple[str, Figures]]:
    return [(style, figures) for style, figures in (("response", each.predicted), ("tail", each.measured)) if figures]


def _draw_front(raced: Sequence[TunedCandidate]) -> Chart:
    """What more users bring by the twin, a line for each configuration; and what was raced."""
    spots = [(each.description, "measured", each.measured) for each in raced if each.measured]
    curves = [(each.description, [point for point in each.curve if point.throughput]) for each in raced]
    figures = [*(point for _, curve in curves for point in curve), *(point for *_, point in spots)]
    styles = dict(zip((each.description for each in raced), _LINES, strict=False))

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, _HEIGHT)
        y = Scale(*span_values([each.p99_us for each in figures], logarithmic=True), _HEIGHT - BOTTOM, 24, True)
        x = Scale(*span_values([each.throughput for each in figures], logarithmic=False), LEFT, width - RIGHT)
        plot = Plot(drawing, x, y)
        plot.draw_y_axis(format_tick_us, 6)
        plot.draw_x_axis(format_plainly, "throughput, inferences/s")
        for name, curve in curves:
            drawing.path([(x(each.throughput), y(each.p99_us)) for each in curve], f"line thin {styles[name]}")
        for name, _, each in spots:
            hint = f"{name}: {format_number(each.throughput)}/s, p99 {format_time_us(each.p99_us)}"
            drawing.dot((x(each.throughput), y(each.p99_us)), 5, f"dot {styles[name]}", hint)
        return drawing

    told = [(name, f"by the twin, {point.concurrency} at a time", point) for name, curve in curves for point in curve]
    return draw_chart(
        draw,
        identifier="front",
        title="p99 by throughput",
        lead="Lines: what more users bring, by the twin. Dots: the race. Lower and further right is better.",
        legend=tuple((style, name) for name, style in styles.items()),
        columns=("configuration", "how", "inferences/s", "p99"),
        rows=tuple(
            (name, how, format_number(each.throughput, 4), format_time_us(each.p99_us))
            for name, how, each in (*told, *spots)
        ),
    )


def _draw_predictions(raced: Sequence[TunedCandidate]) -> Chart:
    """The throughput that was predicted beside the one that was measured, for each in the race."""
    height = TOP + _ROW * len(raced) + BOTTOM

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, height)
        most = max((figures.throughput for each in raced for _, figures in _places(each)), default=1.0)
        plot = Plot(drawing, Scale(0, most * 1.02, 14, width - RIGHT), Scale(0, 1, height - BOTTOM, TOP))
        for index, each in enumerate(raced):
            top = TOP + index * _ROW
            drawing.text((plot.x.start, top + 12), _shorten(each.description, width), "bar-name")
            for row, (style, figures) in enumerate(_places(each)):
                size = plot.x(figures.throughput) - plot.x.start, _BAR
                hint = f"{format_number(figures.throughput)}/s"
                drawing.rectangle((plot.x.start, top + 18 + row * (_BAR + 1)), size, f"fill {style}", hint)
        plot.draw_x_axis(format_plainly, "throughput, inferences/s")
        return drawing

    return draw_chart(
        draw,
        identifier="predictions",
        title="Predicted beside measured",
        lead="What the twin said of each configuration in the race, and what it did.",
        legend=(("response", "by the twin"), ("tail", "measured")),
        columns=("configuration", "by the twin", "measured", "p99 by the twin", "p99 measured"),
        rows=tuple(_prediction_row(each) for each in raced),
    )


def _prediction_row(each: TunedCandidate) -> tuple[str, ...]:
    both = (each.predicted, each.measured)
    return (
        each.description,
        *(f"{format_number(figures.throughput, 4)}/s" if figures else "–" for figures in both),
        *(format_time_us(figures.p99_us) if figures else "–" for figures in both),
    )


def _draw_effect(effect: FieldEffect, identifier: str) -> Chart:
    """The best score with each value of a field, as a share of the best of all."""
    best, height = max(effect.scores), TOP + _ROW * 0.7 * len(effect.scores) + BOTTOM
    names = [describe_value(effect.path, _value(value)) for value in effect.values]
    shares = [score / best for score in effect.scores]

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, height)
        plot = Plot(drawing, Scale(0, 1.02, 14, width - RIGHT), Scale(0, 1, height - BOTTOM, TOP))
        for index, (name, share) in enumerate(zip(names, shares, strict=True)):
            top = TOP + index * _ROW * 0.7
            drawing.text((plot.x.start, top + 12), name, "bar-name")
            drawing.rectangle((14, top + 17), (plot.x(share) - 14, _BAR), "fill response", format_share(share))
        plot.draw_x_axis(format_share, "share of the best score")
        return drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title=f"Effect of {effect.path}",
        lead="The best that the twin finds with each value, whatever the other fields are.",
        legend=(("response", "by the twin"),),
        columns=("value", "share of the best"),
        rows=tuple(zip(names, map(format_share, shares), strict=True)),
    )


def _value(value: object) -> int | float | str | bool | tuple[int, ...] | None:
    """A value as it was before it was written as JSON."""
    return tuple(value) if isinstance(value, list | tuple) else value  # type: ignore[return-value]


def _shorten(text: str, width: float) -> str:
    most = int(width / 7)
    return text if len(text) <= most else f"{text[: most - 1]}…"
