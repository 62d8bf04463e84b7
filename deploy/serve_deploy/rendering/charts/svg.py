"""Draw SVG: scales, ticks and escaped elements; colours are classes that the page's style knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Position = tuple[float, float]
Write = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to positions from `start` to `end`, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value; values outside are held at the border."""
        held = min(max(value, self.low), self.high)
        if self.high <= self.low:
            return self.start
        if self.logarithmic:
            share = math.log(held / self.low) / math.log(self.high / self.low)
        else:
            share = (held - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round values to mark on an axis."""
        # Within less than a decade powers of ten would leave the axis all but bare.
        by_decades = self.logarithmic and self.high > 8 * self.low
        marks = (_log_ticks if by_decades else linear_ticks)(self.low, self.high, about)
        return [mark for mark in marks if self.low <= mark <= self.high]


def linear_ticks(low: float, high: float, about: int) -> list[float]:
    """About so many multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        marks = [factor * 10.0**decade for decade in decades for factor in factors]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) <= about + 2:
            return marks
    return marks[:: math.ceil(len(marks) / about)]


def span_values(values: Sequence[float], *, logarithmic: bool) -> tuple[float, float]:
    """Bounds that leave a little air around positive values, and that start at 0 on a linear scale."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if not positive:
        return (1.0, 10.0) if logarithmic else (0.0, 1.0)
    if not logarithmic:
        return 0.0, max(positive) * 1.06
    return min(positive) / 1.15, max(positive) * 1.25


@dataclass
class Drawing:
    """Elements of one SVG of a size in CSS pixels."""

    width: float
    height: float
    elements: list[Markup] = field(default_factory=list)

    def line(self, start: Position, end: Position, style: str) -> None:
        """A straight line."""
        template = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
        self.elements.append(template.format(*map(_round, (*start, *end)), style))

    def path(self, points: Sequence[Position], style: str) -> None:
        """A line through points."""
        if len(points) > 1:
            steps = " ".join(f"{_round(x)},{_round(y)}" for x, y in points)
            self.elements.append(Markup('<polyline points="{}" class="{}"/>').format(steps, style))

    def area(self, points: Sequence[Position], style: str) -> None:
        """A filled polygon."""
        if len(points) > 2:
            steps = " ".join(f"{_round(x)},{_round(y)}" for x, y in points)
            self.elements.append(Markup('<polygon points="{}" class="{}"/>').format(steps, style))

    def rectangle(self, corner: Position, size: Position, style: str, hint: str = "") -> None:
        """A filled rectangle, with a text that shows when pointed at."""
        template = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}">{}</rect>')
        self.elements.append(template.format(*map(_round, (*corner, *size)), style, _title(hint)))

    def dot(self, center: Position, radius: float, style: str, hint: str = "") -> None:
        """A circle, with a text that shows when pointed at."""
        template = Markup('<circle cx="{}" cy="{}" r="{}" class="{}">{}</circle>')
        self.elements.append(template.format(*map(_round, (*center, radius)), style, _title(hint)))

    def text(self, at: Position, words: str, style: str = "", anchor: str = "start") -> None:
        """Words; anchor is start, middle or end."""
        template = Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>')
        self.elements.append(template.format(*map(_round, at), anchor, style, words))

    def finish(self, identifier: str, title: str, variant: str) -> Markup:
        """The SVG element; a screen reader hears its title."""
        template = Markup(
            '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-labelledby="{}"><title id="{}">{}</title>{}</svg>'
        )
        name = f"{identifier}-{variant}"
        size = _round(self.width), _round(self.height)
        return template.format(variant, *size, name, name, title, Markup("").join(self.elements))


def _round(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _title(hint: str) -> Markup:
    return Markup("<title>{}</title>").format(hint) if hint else Markup("")
