"""What happened when: latency and answers over the measurement period, so that stalls are seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.slices import Bucket, Slice, lay_out
from serve_deploy.rendering.charts.svg import Drawing, Scale, span_values
from serve_deploy.reports.figures import format_count, format_number, format_plainly, format_tick_us, format_time_us
from serve_deploy.reports.point import Point, TimelineBucket

LEGEND = (
    ("response", "p50"), ("tail", "p99"), ("peak", "max"), ("answers", "answers a second"),
    ("failure", "failures a second"), ("flight", "requests in flight"),
)  # fmt: skip
_LATENCY_HEIGHT, _RATE_HEIGHT, _FLIGHT_HEIGHT, _GAP = 170.0, 70.0, 46.0, 22.0
_HEIGHT = TOP + _LATENCY_HEIGHT + _GAP + _RATE_HEIGHT + _GAP + _FLIGHT_HEIGHT + BOTTOM


def draw_timeline(repeats: Sequence[Point], identifier: str) -> Chart | None:
    """Latency above, answers and requests in flight below; None where no timeline was recorded."""
    if not any(point.timeline for point in repeats):
        return None

    def draw(width: float) -> Drawing:
        return _draw(lay_out(repeats, 80 if width < 500 else 180), width)

    slices = lay_out(repeats, 60)
    return draw_chart(
        draw,
        identifier=identifier,
        title="Over time",
        alone="Latency and answers over time",
        lead=_describe(repeats),
        legend=LEGEND if any(part.bucket.failed for part in slices) else tuple(
            entry for entry in LEGEND if entry[0] != "failure"
        ),
        columns=("repeat", "from", "answers", "failures", "in flight", "p50", "p99", "max"),
        rows=tuple(_row(part) for part in slices),
    )  # fmt: skip


def _row(part: Slice[TimelineBucket]) -> tuple[str, ...]:
    bucket = part.bucket
    times = (bucket.response_p50_us, bucket.response_p99_us, bucket.response_max_us)
    return (
        str(part.repeat + 1),
        f"{bucket.start_seconds:.2f} s",
        format_count(bucket.succeeded),
        format_count(bucket.failed),
        format_count(bucket.in_flight),
        *(format_time_us(time_us) if time_us else "–" for time_us in times),
    )


def _draw(slices: Sequence[Slice[TimelineBucket]], width: float) -> Drawing:
    drawing = Drawing(width, _HEIGHT)
    end = slices[-1].start + slices[-1].bucket.duration_seconds
    x = Scale(0, end, LEFT, width - RIGHT)
    _draw_latency(drawing, x, slices)
    _draw_rates(drawing, x, slices)
    _draw_flight(drawing, x, slices)
    draw_dividers(drawing, x, slices, _HEIGHT)
    return drawing


def draw_dividers(drawing: Drawing, x: Scale, slices: Sequence[Slice[Bucket]], height: float) -> None:
    """A line where each further repeat begins."""
    for before, after in pairwise(slices):
        if before.repeat != after.repeat:
            drawing.line((x(after.start), TOP), (x(after.start), height - BOTTOM), "divider")
            drawing.text((x(after.start) + 4, TOP + 8), f"repeat {after.repeat + 1}", "tick")


def _draw_latency(drawing: Drawing, x: Scale, slices: Sequence[Slice[TimelineBucket]]) -> None:
    times = [
        time
        for part in slices
        for time in (part.bucket.response_p50_us, part.bucket.response_p99_us, part.bucket.response_max_us)
    ]
    positive = [time for time in times if time > 0] or [1.0]
    logarithmic = max(positive) > 8 * min(positive)
    y = Scale(*span_values(times, logarithmic=logarithmic), TOP + _LATENCY_HEIGHT, TOP, logarithmic)
    plot = Plot(drawing, x, y)
    plot.draw_y_axis(format_tick_us)
    for run in _runs_with_answers(slices):
        middles = [x(part.start + part.bucket.duration_seconds / 2) for part in run]
        figures = [part.bucket for part in run]
        upper = [(at, y(bucket.response_p99_us)) for at, bucket in zip(middles, figures, strict=True)]
        lower = [(at, y(bucket.response_p50_us)) for at, bucket in zip(middles, figures, strict=True)]
        drawing.area([*upper, *reversed(lower)], "band")
        drawing.path(upper, "line tail thin")
        drawing.path(lower, "line response")
    for part in slices:
        if part.bucket.response_max_us > 0:
            hint = f"{part.bucket.start_seconds:.2f} s: max {format_time_us(part.bucket.response_max_us)}"
            at = (x(part.start + part.bucket.duration_seconds / 2), y(part.bucket.response_max_us))
            drawing.dot(at, 1.8, "dot peak", hint)
    drawing.line((x.start, y.start), (x.end, y.start), "axis")


def _runs_with_answers(slices: Sequence[Slice[TimelineBucket]]) -> list[list[Slice[TimelineBucket]]]:
    """Cut lines where nothing was answered, and between repeats: a gap is shown as a gap."""
    runs: list[list[Slice[TimelineBucket]]] = [[]]
    for part in slices:
        if part.bucket.response_max_us <= 0 or (runs[-1] and runs[-1][-1].repeat != part.repeat):
            runs.append([])
        if part.bucket.response_max_us > 0:
            runs[-1].append(part)
    return [run for run in runs if run]


def _draw_rates(drawing: Drawing, x: Scale, slices: Sequence[Slice[TimelineBucket]]) -> None:
    rates = [
        ((bucket.succeeded / seconds, bucket.failed / seconds) if (seconds := bucket.duration_seconds) else (0.0, 0.0))
        for bucket in (part.bucket for part in slices)
    ]
    base = TOP + _LATENCY_HEIGHT + _GAP + _RATE_HEIGHT
    y = Scale(*span_values([sum(rate) for rate in rates], logarithmic=False), base, base - _RATE_HEIGHT)
    Plot(drawing, x, y).draw_y_axis(lambda value: f"{format_plainly(value)}/s" if value else "0", 2)
    for part, (answers, failures) in zip(slices, rates, strict=True):
        left, right = x(part.start), x(part.start + part.bucket.duration_seconds)
        hint = f"{part.bucket.start_seconds:.2f} s: {format_number(answers)} answers/s"
        size = max(0.5, right - left - 0.6)
        if answers:
            drawing.rectangle((left, y(answers)), (size, base - y(answers)), "fill answers", hint)
        if failures:
            top = y(answers + failures)
            hint = f"{part.bucket.start_seconds:.2f} s: {format_number(failures)} failures/s"
            drawing.rectangle((left, top), (size, max(1.0, y(answers) - top)), "fill failure", hint)
    drawing.line((x.start, base), (x.end, base), "axis")


def _draw_flight(drawing: Drawing, x: Scale, slices: Sequence[Slice[TimelineBucket]]) -> None:
    base = _HEIGHT - BOTTOM
    y = Scale(*span_values([part.bucket.in_flight for part in slices], logarithmic=False), base, base - _FLIGHT_HEIGHT)
    plot = Plot(drawing, x, y)
    plot.draw_y_axis(format_plainly, 2)
    plot.draw_x_axis(lambda value: f"{value:g} s", "time since the start of the measurement")
    outline = [
        position
        for part in slices
        for position in (
            (x(part.start), y(part.bucket.in_flight)),
            (x(part.start + part.bucket.duration_seconds), y(part.bucket.in_flight)),
        )
    ]
    drawing.area([(x.start, base), *outline, (x.end, base)], "fill flight")


def _describe(repeats: Sequence[Point]) -> str:
    buckets = [bucket for point in repeats for bucket in point.timeline]
    typical = sorted(bucket.response_max_us for bucket in buckets)[len(buckets) // 2]
    worst = max(buckets, key=lambda bucket: bucket.response_max_us)
    if typical and worst.response_max_us > 5 * typical:
        return (
            f"The slowest request ended {worst.start_seconds:.1f} s into the measurement and took "
            f"{format_time_us(worst.response_max_us)}; in a typical slice the slowest took {format_time_us(typical)}."
        )
    return f"No stall: the slowest request took {format_time_us(worst.response_max_us)}."
