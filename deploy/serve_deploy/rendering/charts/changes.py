"""Every figure against its baseline: the change with its interval, beside what is ignored."""

from __future__ import annotations

from serve_deploy.rendering import baseline_words
from serve_deploy.rendering.charts.frame import BOTTOM, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Scale
from serve_deploy.reports.figures import METRIC_NAMES, format_change, format_load
from serve_deploy.reports.report import BaselineComparison, MetricChange

LEGEND = (("worse", "worse"), ("better", "better"), ("undecided", "no decision"), ("same", "same"))
_ROW = 34.0


def draw_changes(comparison: BaselineComparison, identifier: str) -> Chart | None:
    """A row a figure; error rates change by points, all else by a share of the baseline's value.

    None where no figure was compared.
    """
    changes = [change for change in comparison.changes if change.verdict != "not_compared"]
    if not changes:
        return None
    least = comparison.minimum_effect
    height = TOP + _ROW * len(changes) + BOTTOM

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, height)
        reach = max([2 * least, *(min(2.0, abs(value)) for change in changes for value in _ends(change))]) * 1.08
        plot = Plot(drawing, Scale(-reach, reach, 14, width - RIGHT), Scale(0, 1, height - BOTTOM, TOP))
        drawing.rectangle(
            (plot.x(-least), TOP), (plot.x(least) - plot.x(-least), height - BOTTOM - TOP), "fill let-pass"
        )
        for index, change in enumerate(changes):
            _draw_change(plot, TOP + index * _ROW, change)
        plot.draw_x_axis(format_change, "change against the baseline", plot.x.ticks(4 if plot.is_narrow else 6))
        return drawing

    used = {change.verdict for change in changes}
    return draw_chart(
        draw,
        identifier=identifier,
        title="Against the baseline",
        alone="Changes against the baseline",
        lead=baseline_words.describe_baseline(comparison),
        legend=tuple(entry for entry in LEGEND if entry[0] in used),
        columns=baseline_words.CHANGE_COLUMNS,
        rows=tuple(baseline_words.change_rows(comparison)),
    )


def _ends(change: MetricChange) -> tuple[float, ...]:
    return tuple(value for value in (change.change, change.change_low, change.change_high) if value is not None)


def _draw_change(plot: Plot, top: float, change: MetricChange) -> None:
    middle = top + 22
    name, share = f"{METRIC_NAMES[change.metric]} at {format_load(change.load)}", change.change or 0.0
    hint = f"{name}: {change.verdict}, {change.explanation}"
    # The axis leaves out the names, which on a phone reach across it.
    plot.drawing.line((plot.x(0), middle - 8), (plot.x(0), top + _ROW), "axis")
    plot.drawing.text((plot.x.start, top + 11), f"{name}: {format_change(share)}", "bar-name")
    if change.change_low is not None and change.change_high is not None:
        plot.drawing.line(
            (plot.x(change.change_low), middle), (plot.x(change.change_high), middle), f"span {change.verdict}"
        )
    plot.drawing.dot((plot.x(share), middle), 5, f"dot {change.verdict}", hint)
