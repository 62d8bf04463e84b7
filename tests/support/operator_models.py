"""For each operator small models on which a wrong rule about its batch axis shows: see operator_models.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.parser

_LINE = re.compile(r"  (apart|mixed|unknown)((?: \w+=\d+)*) (\(.*)")


@dataclass(frozen=True)
class OperatorModel:
    """A model as text, what ONNX Runtime does to its rows, and below what its whole numbers are drawn."""

    operator: str
    effect: str
    graph: str
    opset: int = 18
    below: int = 3
    ml: int = 3

    @property
    def name(self) -> str:
        nodes = self.graph.partition(" => ")[2]
        return f"{self.operator}-{self.effect}-{nodes}"[:120]

    def build(self) -> onnx.ModelProto:
        """The model; its output's shape is not declared."""
        header = (
            f"<ir_version: {8 if self.opset < 21 else 11}, "
            f'opset_import: ["" : {self.opset}, "ai.onnx.ml" : {self.ml}, "com.microsoft" : 1]>\ngraph '
        )
        model = onnx.parser.parse_model(header + self.graph)
        for output in model.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        return model


def read_models() -> Iterator[OperatorModel]:
    """Every model of the list."""
    operators: list[str] = []
    is_heading = False
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            options = dict(each.split("=") for each in match[2].split())
            for operator in operators:
                graph = match[3].replace("%", operator)
                yield OperatorModel(operator, match[1], graph, **{name: int(text) for name, text in options.items()})
            is_heading = False
        elif line and not line.startswith("#"):
            operators = [*(operators if is_heading else ()), *line.split()]
            is_heading = True


MODELS = tuple(read_models())
