"""The charts of a plan: the load and each profile's replicas over time, and what a million costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from serve_deploy.planning.result import DeploymentPlan, ProfilePlan, ReplayedCurve
from serve_deploy.rendering.charts.frame import BOTTOM, LEFT, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Position, Scale
from serve_deploy.reports.figures import format_number, format_plainly

_STYLES = ("tail", "response", "answers", "service", "failure", "peak")
_LOAD_HEIGHT, _REPLICAS_HEIGHT, _GAP = 110.0, 190.0, 24.0
_HEIGHT = TOP + _LOAD_HEIGHT + _GAP + _REPLICAS_HEIGHT + BOTTOM
# Room for a word above the highest line.
_ABOVE = 1.3
_ROW, _BAR = 44.0, 16.0
_UNITS = (("days", 86_400.0, 4 * 86_400.0), ("h", 3600.0, 3 * 3600.0), ("min", 60.0, 180.0), ("s", 1.0, 0.0))
_TITLES = {"doubling": "The base doubles at once", "ramp": "A ramp", "day": "A day", "trace": "The trace"}
Planned = tuple[str, ProfilePlan, ReplayedCurve]


def draw_charts(result: DeploymentPlan) -> tuple[Chart, ...]:
    """Every curve, the one that is paid for first; then costs and energy, where they are known."""
    names = [curve.name for each in result.profiles[:1] for curve in each.curves] or [
        curve.name for each in result.profiles for curve in each.curves
    ]
    curves = [_draw_curve(name, _planned(result, name)) for name in reversed(list(dict.fromkeys(names)))]
    main = [
        (_STYLES[number % len(_STYLES)], each, each.main_curve)
        for number, each in enumerate(result.profiles)
        if each.main_curve
    ]
    bars = (
        _draw_bars(
            "cost", "Cost", f"{result.currency} a million {_unit(main)}", main, lambda curve: curve.cost_per_million
        ),
        _draw_bars(
            "energy", "Energy", f"kWh a million {_unit(main)}", main, lambda curve: curve.energy_kwh_per_million
        ),
    )
    return (*curves, *(chart for chart in bars if chart))


def _planned(result: DeploymentPlan, name: str) -> list[Planned]:
    return [
        (_STYLES[number % len(_STYLES)], each, curve)
        for number, each in enumerate(result.profiles)
        for curve in each.curves
        if curve.name == name
    ]


def _unit(planned: Sequence[Planned]) -> str:
    units = {each.unit for _, each, _ in planned}
    return units.pop() if len(units) == 1 else "of the output"


def _draw_curve(name: str, planned: Sequence[Planned]) -> Chart:
    """The load above, and below it the replicas that each profile had, from when they were asked for."""
    curve = planned[0][2]
    unit, size = next((unit, size) for unit, size, least in _UNITS if curve.seconds >= least)

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, _HEIGHT)
        x = Scale(0, curve.seconds / size, LEFT, width - RIGHT)
        top = TOP + _LOAD_HEIGHT
        load = Plot(drawing, x, Scale(0, _ABOVE * max(rate for _, rate in curve.rates), top, TOP))
        load.draw_y_axis(format_plainly, 3)
        load.draw_x_axis(lambda _: "", "", ticks=())
        drawing.path([(x(at / size), load.y(rate)) for at, rate in curve.rates], "line flight")
        drawing.text((LEFT + 6, TOP + 10), "requests/s", "label")
        most = float(max(each.most_replicas for _, _, each in planned))
        replicas = Plot(drawing, x, Scale(0, _ABOVE * most, _HEIGHT - BOTTOM, top + _GAP))
        replicas.draw_y_axis(format_plainly, min(5, int(most) + 1))
        replicas.draw_x_axis(format_plainly, unit)
        drawing.text((LEFT + 6, top + _GAP + 10), "replicas", "label")
        for style, _, each in planned:
            drawing.path([(x(at / size), replicas.y(count)) for at, count in _steps(each)], f"line {style}")
        return drawing

    title = _TITLES.get(name, name)
    return draw_chart(
        draw,
        identifier=f"curve-{name}",
        title=title,
        lead="The load above; below it the replicas of each profile, from when they were asked for.",
        legend=(("flight", "load"), *((style, each.profile) for style, each, _ in planned)),
        columns=("profile", "from", "replicas"),
        rows=tuple(
            (each.profile, f"{format_number(at / size)} {unit}", str(count))
            for _, each, replayed in planned
            for at, count in replayed.replicas
        ),
    )


def _steps(curve: ReplayedCurve) -> list[Position]:
    """Replicas over time as corners of a line."""
    corners: list[Position] = []
    for (at, count), (end, _) in pairwise([*curve.replicas, (curve.seconds, 0)]):
        corners += [(at, count), (end, count)]
    return corners


def _draw_bars(
    identifier: str, title: str, unit: str, planned: Sequence[Planned], read: Callable[[ReplayedCurve], float | None]
) -> Chart | None:
    known = [(style, each.profile, value) for style, each, curve in planned if (value := read(curve)) is not None]
    if not known:
        return None
    height = TOP + _ROW * len(known) + BOTTOM

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, height)
        most = max(value for _, _, value in known) or 1.0
        plot = Plot(drawing, Scale(0, most * 1.02, 14, width - RIGHT), Scale(0, 1, height - BOTTOM, TOP))
        for row, (style, profile, value) in enumerate(known):
            top = TOP + row * _ROW
            drawing.text((plot.x.start, top + 13), profile, "bar-name")
            drawing.rectangle(
                (plot.x.start, top + 18),
                (plot.x(value) - plot.x.start, _BAR),
                f"fill {style}",
                f"{format_number(value)} {unit}",
            )
        plot.draw_x_axis(format_plainly, unit)
        return drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title=title,
        lead="Of the trace, where there is one, else of the day. Less is better.",
        legend=tuple((style, profile) for style, profile, _ in known),
        columns=("profile", unit),
        rows=tuple((profile, format_number(value, 4)) for _, profile, value in known),
    )
