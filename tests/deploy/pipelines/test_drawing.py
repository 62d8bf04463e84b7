"""Pipelines as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pipeline_steps import read_case

from serve_deploy.errors import UsageError
from serve_deploy.pipelines.drawing import draw_graph
from serve_deploy.pipelines.options import PipelineOptions
from serve_deploy.pipelines.plan import join
from serve_deploy.pipelines.svg_graph import draw_svg

_FORK = """
    steps:
      decode: {model: decode}
      one: {model: classifier}
      other: {model: classifier_2}
      blend: {model: blend, inputs: {a: one.logits, b: other.logits}}
      labels: {model: labels, inputs: {scores: blend.scores}}
    outputs: {label: labels.label, size: decode.size}
"""
_SVG = "{http://www.w3.org/2000/svg}"


def draw(path: Path) -> str:
    text, steps = read_case(_FORK)
    draw_graph(path, join(text, steps).wiring, steps)
    return path.read_text()


def test_mermaid_has_a_node_for_each_step_and_end(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """And an arrow for each two that share tensors."""
    golden("pipelines/fork.mmd", draw(tmp_path / "fork.mmd"))


def test_svg_says_what_mermaid_says(tmp_path: Path) -> None:
    """Each step with its source and batches, and the tensors beside the arrows."""
    root = ElementTree.fromstring(draw(tmp_path / "fork.svg"))
    words = [text.text for text in root.iter(f"{_SVG}text")]
    assert {"decode", "decode.onnx", "batches of up to 8", "image", "logits", "label", "size"} <= set(words)
    assert len([path for path in root.iter(f"{_SVG}path") if path.get("class") == "edge"]) == 8


def test_boxes_of_an_svg_do_not_overlap(tmp_path: Path) -> None:
    """Nor stand outside the picture."""
    root = ElementTree.fromstring(draw(tmp_path / "fork.svg"))
    boxes = [
        tuple(float(box.get(side, "0")) for side in ("x", "y", "width", "height"))
        for box in root.iter(f"{_SVG}rect")
        if box.get("class")
    ]
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    assert all(x > 0 and y > 0 and x + w < width and y + h < height for x, y, w, h in boxes)
    for index, (x, y, w, h) in enumerate(boxes):
        assert not [b for b in boxes[:index] if x < b[0] + b[2] and b[0] < x + w and y < b[1] + b[3] and b[1] < y + h]


def test_an_edge_over_a_layer_passes_its_boxes() -> None:
    """It has a point of its own there."""
    root = ElementTree.fromstring(
        draw_svg([["a"], ["b"], ["c"]], [True] * 3, [(0, 1, "x"), (1, 2, "y"), (0, 2, "over")])
    )
    over = [path.get("d", "") for path in root.iter(f"{_SVG}path") if path.get("class") == "edge"][-1]
    box = [rect for rect in root.iter(f"{_SVG}rect") if rect.get("class")][1]
    middle = float(over.split("C")[1].split(",")[-1])
    top, height = float(box.get("y", "0")), float(box.get("height", "0"))
    assert not top < middle < top + height


def test_a_label_of_markup_is_text(tmp_path: Path) -> None:
    """In both."""
    name = '<b>"&'
    assert name in [text.text for text in ElementTree.fromstring(draw_svg([[name]], [True], [])).iter(f"{_SVG}text")]


def test_an_ending_that_says_no_format_is_refused(tmp_path: Path) -> None:
    """From Python, too."""
    with pytest.raises(UsageError, match="its ending says no format"):
        PipelineOptions(file=tmp_path / "pipeline.yaml", graphs=(tmp_path / "graph.png",))
