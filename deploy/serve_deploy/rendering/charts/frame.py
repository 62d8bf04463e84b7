"""What all charts have in common: two widths, a frame with axes, a legend and a table of the numbers behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from serve_deploy.rendering.charts.svg import Drawing, Scale, Write

WIDE, NARROW = 760.0, 360.0
_LETTER, _APART = 6.5, 4.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 22.0, 12.0, 40.0


@dataclass(frozen=True)
class Chart:
    """A figure of the page: the same drawing for wide and narrow screens, and its numbers as a table."""

    identifier: str
    title: str
    lead: str
    legend: tuple[tuple[str, str], ...]
    wide: Markup
    narrow: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """The area of a drawing that has an x and a y scale."""

    drawing: Drawing
    x: Scale
    y: Scale

    @property
    def is_narrow(self) -> bool:
        """Whether to leave out what has no room on a phone."""
        return self.drawing.width < 500

    def draw_y_axis(self, write: Write, about: int = 5) -> None:
        """Horizontal grid lines with their values at the left."""
        for value in self.y.ticks(about):
            at = self.y(value)
            self.drawing.line((self.x.start, at), (self.x.end, at), "grid")
            self.drawing.text((self.x.start - 8, at + 4), write(value), "tick", "end")

    def draw_x_axis(self, write: Write, label: str, ticks: Sequence[float] | None = None) -> None:
        """The base line, ticks with their values below it, and what they measure."""
        bottom, taken = self.y.start, 0.0
        self.drawing.line((self.x.start, bottom), (self.x.end, bottom), "axis")
        for value in self.x.ticks(4 if self.is_narrow else 8) if ticks is None else ticks:
            at, words = self.x(value), write(value)
            self.drawing.line((at, bottom), (at, bottom + 4), "axis")
            reach = _LETTER * len(words) / 2
            # On a logarithmic axis the later of two near marks would lie on the earlier.
            if at - reach >= taken + _APART:
                self.drawing.text((at, bottom + 17), words, "tick", "middle")
                taken = at + reach
        self.drawing.text(((self.x.start + self.x.end) / 2, bottom + 34), label, "label", "middle")


def draw_chart(
    draw: Callable[[float], Drawing],
    *,
    identifier: str,
    title: str,
    lead: str,
    legend: tuple[tuple[str, str], ...],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    alone: str = "",
) -> Chart:
    """Draw once for wide and once for narrow screens, so that text keeps its size on a phone.

    `alone` is what the drawing is called without the page around it, where that is not its title.
    """
    name = alone or title
    wide = draw(WIDE).finish(identifier, name, "wide")
    narrow = draw(NARROW).finish(identifier, name, "narrow")
    return Chart(identifier, title, lead, legend, wide, narrow, columns, rows)
