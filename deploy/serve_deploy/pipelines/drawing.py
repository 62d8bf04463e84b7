"""A pipeline as a picture: Mermaid text, or SVG with igraph's layered layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.files.atomic import write_atomically
from serve_deploy.pipelines.graph import REQUEST, Step, Wiring
from serve_deploy.pipelines.svg_graph import draw_svg


@dataclass(frozen=True)
class Node:
    """A box with its lines of text; `is_step` tells a step from an input or output of the pipeline."""

    lines: tuple[str, ...]
    is_step: bool


@dataclass(frozen=True)
class Arrow:
    """From a node to a node, by their positions, with the tensors that go along."""

    start: int
    end: int
    label: str


def draw_graph(path: Path, wiring: Wiring, steps: Sequence[Step]) -> None:
    """Write the picture in the format that the path's ending names, .mmd or .svg."""
    nodes, arrows = lay_graph(wiring, steps)
    if path.suffix == ".svg":
        edges = [(arrow.start, arrow.end, arrow.label) for arrow in arrows]
        write_atomically(path, draw_svg([node.lines for node in nodes], [node.is_step for node in nodes], edges))
    else:
        write_atomically(path, draw_mermaid(nodes, arrows))


def lay_graph(wiring: Wiring, steps: Sequence[Step]) -> tuple[list[Node], list[Arrow]]:
    """Inputs, steps and outputs as nodes, and one arrow between two of them for all their tensors."""
    nodes = [
        *(Node((name,), is_step=False) for name in wiring.inputs),
        *(Node(tuple(_describe(step)), is_step=True) for step in steps),
        *(Node((name,), is_step=False) for name in wiring.outputs),
    ]
    inputs = {name: index for index, name in enumerate(wiring.inputs)}
    places = {step.name: len(inputs) + index for index, step in enumerate(steps)}
    tensors: dict[tuple[int, int], list[str]] = {}
    for wire in wiring.wires:
        start = inputs[wire.source.tensor] if wire.source.step == REQUEST else places[wire.source.step]
        tensors.setdefault((start, places[wire.target.step]), []).append(wire.source.tensor)
    for index, end in enumerate(wiring.outputs.values()):
        tensors[places[end.step], len(inputs) + len(steps) + index] = [end.tensor]
    return nodes, [Arrow(*ends, ", ".join(dict.fromkeys(names))) for ends, names in tensors.items()]


def _describe(step: Step) -> Iterator[str]:
    yield step.name
    yield step.made_from
    yield f"batches of up to {step.max_batch_size}" if step.max_batch_size else "no batching"


def draw_mermaid(nodes: Sequence[Node], arrows: Sequence[Arrow]) -> str:
    """A flowchart in Mermaid's language, from left to right."""
    lines = ["flowchart LR"]
    for index, node in enumerate(nodes):
        text = "<br/>".join(map(_escape, node.lines))
        lines.append(f'  n{index}["{text}"]' if node.is_step else f'  n{index}(["{text}"])')
    lines += [f'  n{arrow.start} -->|"{_escape(arrow.label)}"| n{arrow.end}' for arrow in arrows]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """What would end a label is written as one of Mermaid's entities."""
    return "".join(f"#{ord(character)};" if character in '"<>&#' else character for character in text)
