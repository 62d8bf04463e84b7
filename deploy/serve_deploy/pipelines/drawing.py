"""A pipeline as a picture: Mermaid text, or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serve_deploy.files.atomic import write_atomically
from serve_deploy.pipelines.graph import REQUEST, Step, Wiring


def draw_graph(path: Path, wiring: Wiring, steps: Sequence[Step]) -> None:
    """Write the picture in the format that the path's ending names."""
    write_atomically(path, draw_mermaid(wiring, steps))


def draw_mermaid(wiring: Wiring, steps: Sequence[Step]) -> str:
    """A flowchart from the inputs over the steps to the outputs, with tensors on the arrows."""
    numbers = {step.name: f"step{index}" for index, step in enumerate(steps)}
    lines = ["flowchart LR"]
    lines += [f"  in{index}([{_quote(name)}])" for index, name in enumerate(wiring.inputs)]
    for step in steps:
        batch = f"batches of up to {step.max_batch_size}" if step.max_batch_size else "no batching"
        label = "<br/>".join(map(_escape, (step.name, step.made_from, batch)))
        lines.append(f'  {numbers[step.name]}["{label}"]')
    lines += [f"  out{index}([{_quote(name)}])" for index, name in enumerate(wiring.outputs)]
    for wire in wiring.wires:
        source = (
            f"in{wiring.inputs.index(wire.source.tensor)}" if wire.source.step == REQUEST else numbers[wire.source.step]
        )
        lines.append(f"  {source} -->|{_quote(wire.source.tensor)}| {numbers[wire.target.step]}")
    for index, end in enumerate(wiring.outputs.values()):
        lines.append(f"  {numbers[end.step]} -->|{_quote(end.tensor)}| out{index}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return f'"{_escape(text)}"'


def _escape(text: str) -> str:
    """Mermaid has entities of its own for what would end a label."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
