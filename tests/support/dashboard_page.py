"""A page with a dashboard's panels and their data as plain SVG, for a headless browser to take a picture of."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#8f3bb8", "#e02f44", "#b8860b", "#1f78c1", "#6d1f62")
Lines = list[tuple[str, list[tuple[float, float]]]]


@dataclass(frozen=True)
class Panel:
    """A panel with what its queries returned: (legend, points) of each line, or why there is nothing."""

    title: str
    kind: str
    unit: str
    place: dict[str, int]
    lines: Lines
    excuse: str = ""


CELL_WIDTH, CELL_HEIGHT, TOP = 56, 26, 40
CSS = """
body { margin: 8px; font: 12px sans-serif; background: #f4f5f5; position: relative }
.panel { position: absolute; background: #fff; border: 1px solid #ddd; padding: 4px; overflow: hidden;
         box-sizing: border-box }
.row { position: absolute; font-weight: bold; color: #555 }
.none { color: #999; padding: 20px }
.stat { font-size: 26px; color: #3274d9; padding: 6px 12px }
h3 { margin: 0 }
"""


def render_page(title: str, panels: list[Panel], rows: dict[int, str]) -> str:
    """The page, on Grafana's grid of 24 columns."""
    parts = [f"<!doctype html><meta charset=utf-8><style>{CSS}</style><h3>{html.escape(title)}</h3>"]
    for y, text in rows.items():
        parts.append(f'<div class="row" style="top:{y * CELL_HEIGHT + TOP}px">{html.escape(text)}</div>')
    for panel in panels:
        place = panel.place
        width, height = place["w"] * CELL_WIDTH - 8, place["h"] * CELL_HEIGHT - 6
        left, top = place["x"] * CELL_WIDTH, place["y"] * CELL_HEIGHT + TOP
        style = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
        body = _draw(panel, width, height - 26)
        parts.append(f'<div class="panel" style="{style}"><b>{html.escape(panel.title)}</b>{body}</div>')
    return "".join(parts)


def _draw(panel: Panel, width: int, height: int) -> str:
    if not any(points for _, points in panel.lines):
        return f'<div class="none">{html.escape(panel.excuse or "no data")}</div>'
    if panel.kind == "stat":
        return f'<div class="stat">{panel.lines[0][1][-1][1]:.4g} <small>{html.escape(panel.unit)}</small></div>'
    return _draw_lines(panel, width - 10, height - 34)


def _draw_lines(panel: Panel, width: int, height: int) -> str:
    points = [point for _, line in panel.lines for point in line if math.isfinite(point[1])]
    start, end = min(at for at, _ in points), max(at for at, _ in points)
    top = max(max(value for _, value in points) * 1.1, 1e-9)
    scale_x, scale_y = width / max(end - start, 1e-9), height / top
    paths, legend = [], []
    for index, (name, line) in enumerate(panel.lines):
        colour = COLOURS[index % len(COLOURS)]
        shape = " ".join(f"{(at - start) * scale_x:.1f},{height - value * scale_y:.1f}" for at, value in line)
        paths.append(f'<polyline points="{shape}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        legend.append(f'<span style="color:{colour}">{html.escape(name)} {line[-1][1]:.4g}</span>')
    axis = f'<text x="2" y="10" fill="#888" font-size="10">{top:.3g} {html.escape(panel.unit)}</text>'
    picture = f'<svg width="{width}" height="{height}" style="display:block">{axis}{"".join(paths)}</svg>'
    return picture + '<div style="font-size:10px">' + " · ".join(legend) + "</div>"


def fill_legend(template: str, labels: dict[str, str], query: str) -> str:
    """Grafana's {{label}} in a legend; the query itself where there is none."""
    text = template
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text or query[:40]


def page_rows(dashboard: dict[str, Any]) -> dict[int, str]:
    """The titles of the rows by their place."""
    return {panel["gridPos"]["y"]: panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"}
