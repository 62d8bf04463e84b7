"""What came when of token streams: the longest gap in each slice, tokens a second, and answers that began."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.slices import Slice, lay_out_tokens
from serve_deploy.rendering.charts.svg import Drawing, Scale, span_values
from serve_deploy.rendering.charts.timeline import draw_dividers
from serve_deploy.rendering.token_words import describe_gap
from serve_deploy.reports.figures import format_count, format_number, format_plainly, format_tick_us, format_time_us
from serve_deploy.reports.generation import TokenBucket
from serve_deploy.reports.point import Point

Slices = Sequence[Slice[TokenBucket]]
LEGEND = (
    ("peak", "longest gap between two pieces of one answer"),
    ("answers", "output tokens a second"),
    ("response", "first tokens a second"),
)
_GAP_HEIGHT, _RATE_HEIGHT, _SPACE = 150.0, 80.0, 22.0
_HEIGHT = TOP + _GAP_HEIGHT + _SPACE + 2 * _RATE_HEIGHT + _SPACE + BOTTOM
_STANDS_OUT = 5.0


def draw_token_timeline(repeats: Sequence[Point], identifier: str) -> Chart | None:
    """Gaps above, tokens and first tokens below; None where no timeline was recorded."""
    slices = lay_out_tokens(repeats, 60)
    if not slices:
        return None

    def draw(width: float) -> Drawing:
        return _draw(lay_out_tokens(repeats, 80 if width < 500 else 180), width)

    return draw_chart(
        draw,
        identifier=identifier,
        title="Tokens over time",
        lead=_describe(repeats),
        legend=LEGEND,
        columns=("repeat", "from", "output tokens", "first tokens", "longest gap"),
        rows=tuple(_row(part) for part in slices),
    )


def _row(part: Slice[TokenBucket]) -> tuple[str, ...]:
    bucket = part.bucket
    return (
        str(part.repeat + 1),
        f"{bucket.start_seconds:.2f} s",
        format_count(round(bucket.output_tokens)),
        format_count(bucket.first_tokens),
        format_time_us(bucket.gap_max_us) if bucket.gap_max_us else "–",
    )


def _draw(slices: Slices, width: float) -> Drawing:
    drawing = Drawing(width, _HEIGHT)
    x = Scale(0, slices[-1].start + slices[-1].bucket.duration_seconds, LEFT, width - RIGHT)
    base = TOP + _GAP_HEIGHT
    _draw_gaps(drawing, x, slices, base)
    base += _SPACE + _RATE_HEIGHT
    _draw_rates(drawing, x, slices, base, lambda bucket: bucket.output_tokens, ("answers", "output tokens/s"))
    base += _SPACE + _RATE_HEIGHT
    plot = _draw_rates(drawing, x, slices, base, lambda bucket: bucket.first_tokens, ("response", "first tokens/s"))
    plot.draw_x_axis(lambda value: f"{value:g} s", "time since the start of the measurement")
    draw_dividers(drawing, x, slices, _HEIGHT)
    return drawing


def _draw_gaps(drawing: Drawing, x: Scale, slices: Slices, base: float) -> None:
    gaps = [part.bucket.gap_max_us for part in slices]
    positive = [gap for gap in gaps if gap > 0] or [1.0]
    logarithmic = max(positive) > 8 * min(positive)
    plot = Plot(drawing, x, Scale(*span_values(gaps, logarithmic=logarithmic), base, TOP, logarithmic))
    plot.draw_y_axis(format_tick_us)
    for part in slices:
        if part.bucket.gap_max_us > 0:
            hint = f"{part.bucket.start_seconds:.2f} s: longest gap {format_time_us(part.bucket.gap_max_us)}"
            drawing.dot((_middle(x, part), plot.y(part.bucket.gap_max_us)), 2.4, "dot peak", hint)
    drawing.line((x.start, base), (x.end, base), "axis")
    worst = max(slices, key=lambda part: part.bucket.gap_max_us)
    if _stands_out(gaps):
        _name_gap(plot, worst)


def _name_gap(plot: Plot, worst: Slice[TokenBucket]) -> None:
    at, height = _middle(plot.x, worst), plot.y(worst.bucket.gap_max_us)
    on_left = at > (plot.x.start + plot.x.end) / 2
    words = format_time_us(worst.bucket.gap_max_us)
    plot.drawing.dot((at, height), 4.5, "dot peak", words)
    plot.drawing.text((at - 9 if on_left else at + 9, height + 4), words, "point-name", "end" if on_left else "start")


def _middle(x: Scale, part: Slice[TokenBucket]) -> float:
    return x(part.start + part.bucket.duration_seconds / 2)


def _draw_rates(
    drawing: Drawing,
    x: Scale,
    slices: Slices,
    base: float,
    read: Callable[[TokenBucket], float],
    names: tuple[str, str],
) -> Plot:
    style, unit = names
    rates = [read(part.bucket) / (part.bucket.duration_seconds or 1.0) for part in slices]
    plot = Plot(drawing, x, Scale(*span_values(rates, logarithmic=False), base, base - _RATE_HEIGHT))
    plot.draw_y_axis(lambda value: f"{format_plainly(value)}/s" if value else "0", 2)
    for part, rate in zip(slices, rates, strict=True):
        left, right = x(part.start), x(part.start + part.bucket.duration_seconds)
        if rate:
            hint = f"{part.bucket.start_seconds:.2f} s: {format_number(rate)} {unit}"
            size = (max(0.5, right - left - 0.6), base - plot.y(rate))
            drawing.rectangle((left, plot.y(rate)), size, f"fill {style}", hint)
    drawing.line((x.start, base), (x.end, base), "axis")
    return plot


def _stands_out(gaps: Sequence[float]) -> bool:
    typical = sorted(gaps)[len(gaps) // 2]
    return max(gaps) > _STANDS_OUT * typical > 0


def _describe(repeats: Sequence[Point]) -> str:
    gaps = [bucket.gap_max_us for point in repeats if point.generation for bucket in point.generation.timeline]
    longest = describe_gap(repeats)
    if not longest:
        return "No answer had a second piece, so there are no gaps."
    if _stands_out(gaps):
        typical = format_time_us(sorted(gaps)[len(gaps) // 2])
        return f"The longest gap: {longest}. In a typical slice the longest was {typical}."
    return f"No stream stalled. The longest gap: {longest}."
