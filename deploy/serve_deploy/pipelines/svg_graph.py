"""Draw a directed graph as SVG: igraph finds the places, in layers from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any
from xml.etree import ElementTree

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command

Edge = tuple[int, int, str]
_CHARACTER, _LINE, _PADDING, _MARGIN, _ROW_GAP = 7.2, 18.0, 12.0, 20.0, 28.0
_STYLE = (
    "text{font:13px sans-serif;fill:#1f2933}.step{fill:#eef4fb;stroke:#3b6ea5}.end{fill:#f4f4f4;stroke:#7b8794}"
    ".edge{fill:none;stroke:#52606d}.label{font-size:11px;fill:#52606d;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".name{font-weight:600}"
)


def draw_svg(nodes: Sequence[Sequence[str]], is_step: Sequence[bool], edges: Sequence[Edge]) -> str:
    """The picture of an acyclic graph: each node a box with lines of text, each edge an arrow with a label.

    UsageError where igraph is not installed.
    """
    layers = _find_layers(len(nodes), edges)
    paths, points = _route(layers, edges)
    across = _place(points, [pair for path in paths for pair in pairwise(path)])
    widths = [_CHARACTER * max(map(len, lines)) + 2 * _PADDING for lines in nodes]
    heights = [_LINE * len(lines) + 2 * _PADDING for lines in nodes]
    columns = _columns(layers, widths, edges)
    row = max(heights) + _ROW_GAP
    at = [
        (columns[layer], _MARGIN + max(heights) / 2 + row * place) for layer, place in zip(points, across, strict=True)
    ]
    size = max(x for x, _y in at) + max(widths) / 2 + _MARGIN, max(y for _x, y in at) + max(heights) / 2 + _MARGIN
    root = _start(*size)
    for path, (start, end, label) in zip(paths, edges, strict=True):
        left, right = at[start][0] + widths[start] / 2, at[end][0] - widths[end] / 2
        _draw_edge(root, [(left, at[start][1]), *(at[each] for each in path[1:-1]), (right, at[end][1])], label)
    for index, lines in enumerate(nodes):
        _draw_node(root, at[index], (widths[index], heights[index]), lines, "step" if is_step[index] else "end")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _find_layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """How far each node is from the start at most."""
    layers = [0] * count
    for _round in range(count):
        for start, end, _label in edges:
            layers[end] = max(layers[end], layers[start] + 1)
    return layers


def _route(layers: Sequence[int], edges: Sequence[Edge]) -> tuple[list[list[int]], list[int]]:
    """Each edge as a path over the layers, with a point of its own in each that it crosses; the layer of each point."""
    points = list(layers)
    paths = []
    for start, end, _label in edges:
        crossed = range(layers[start] + 1, layers[end])
        paths.append([start, *range(len(points), len(points) + len(crossed)), end])
        points += crossed
    return paths, points


def _place(points: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[float]:
    """Where each point stands within its layer."""
    try:
        import igraph
    except ImportError:
        raise UsageError(
            "drawing SVG needs igraph",
            hint=f"{install_command('graph')}, or draw Mermaid text: a file that ends in .mmd",
        ) from None
    graph = igraph.Graph(n=len(points), edges=list(edges), directed=True)
    layout = graph.layout_sugiyama(layers=list(points), maxiter=1000)
    across = [position[0] for position in layout.coords[: len(points)]]
    return [place - min(across) for place in across]


def _columns(layers: Sequence[int], widths: Sequence[float], edges: Sequence[Edge]) -> list[float]:
    """The middle of each layer: boxes of the layer fit, and the labels of the edges that leave it."""
    count = max(layers) + 1
    boxes = [
        max((w for w, layer in zip(widths, layers, strict=True) if layer == each), default=0.0) for each in range(count)
    ]
    gaps = [
        _CHARACTER * max((len(label) for start, _end, label in edges if layers[start] == each), default=0) + 40
        for each in range(count)
    ]
    steps = [boxes[each] / 2 + gaps[each] + boxes[each + 1] / 2 for each in range(count - 1)]
    return list(accumulate(steps, initial=_MARGIN + boxes[0] / 2))


def _start(width: float, height: float) -> ElementTree.Element:
    root = _element(
        None,
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
    )
    _element(root, "style").text = _STYLE
    _element(root, "rect", width="100%", height="100%", fill="#fff")
    size = {"viewBox": "0 0 8 8", "refX": 8, "refY": 4, "markerWidth": 8, "markerHeight": 8}
    marker = _element(_element(root, "defs"), "marker", id="arrow", orient="auto", **size)
    _element(marker, "path", d="M0,0 L8,4 L0,8 z", fill="#52606d")
    return root


def _draw_edge(root: ElementTree.Element, points: Sequence[tuple[float, float]], label: str) -> None:
    """A curve that leaves and enters level, with the label near its start."""
    commands = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (x + to_x) / 2
        commands.append(f"C{middle:.1f},{y:.1f} {middle:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}")
    _element(root, "path", d=" ".join(commands), **{"class": "edge", "marker-end": "url(#arrow)"})
    (x, y), (to_x, to_y) = points[0], points[1]
    at = {"x": (x + to_x) / 2, "y": (y + to_y) / 2 - 4, "text-anchor": "middle", "class": "label"}
    _element(root, "text", **at).text = label


def _draw_node(
    root: ElementTree.Element, at: tuple[float, float], size: tuple[float, float], lines: Sequence[str], style: str
) -> None:
    x, y = at[0] - size[0] / 2, at[1] - size[1] / 2
    radius = 6 if style == "step" else size[1] / 2
    _element(root, "rect", x=x, y=y, width=size[0], height=size[1], rx=radius, **{"class": style})
    for number, line in enumerate(lines):
        middle = y + _PADDING + _LINE * (number + 0.75)
        more = {"text-anchor": "middle", **({"class": "name"} if number == 0 else {})}
        _element(root, "text", x=at[0], y=middle, **more).text = line


def _element(parent: ElementTree.Element | None, tag: str, **attributes: Any) -> ElementTree.Element:
    written = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
    return ElementTree.Element(tag, written) if parent is None else ElementTree.SubElement(parent, tag, written)
