"""Read the table of kernels, and look an operator up in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE_PATH = Path(__file__).with_name("table.json")


@dataclass(frozen=True)
class Entry:
    """One operator in one ONNX Runtime: combinations of types as nested products, and attributes that it refuses."""

    constraints: Sequence[str]
    runs: Any
    unclear: Any
    refuses: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class KernelTable:
    """What was found for each ONNX Runtime; `missing` are those that no wheel could be installed of."""

    onnxruntimes: Sequence[str]
    missing: Sequence[str]
    characters: Mapping[str, str]
    operators: Mapping[str, Mapping[str, Any]]

    def find(self, key: str, onnxruntime: str) -> Entry | None:
        """The operator in that ONNX Runtime; None where that one does not have it, KeyError where nobody asked."""
        operator = self.operators[key]
        index = self.onnxruntimes.index(onnxruntime)
        change = None
        for since, answers in operator["since"]:
            if since > index:
                break
            change = answers
        if change is None:
            return None
        constraints = change.get("constraints", operator["constraints"])
        return Entry(constraints, change.get("runs", ""), change.get("unclear", ""), change.get("refuses", ()))

    def formals(self, domain: str, name: str) -> tuple[Sequence[str], Sequence[str]] | None:
        """The type constraints of the inputs and outputs of one of ONNX Runtime's own operators."""
        operator = self.operators.get(f"{domain}:{name}:1", {})
        return (operator["inputs"], operator["outputs"]) if "inputs" in operator else None


@cache
def read_table() -> KernelTable:
    """The table of this version of serve, read once."""
    import json

    content = json.loads(TABLE_PATH.read_text(encoding="utf-8"))
    return KernelTable(
        onnxruntimes=content["onnxruntimes"],
        missing=content["missing"],
        characters={text: character for character, text in content["types"].items()},
        operators=content["operators"],
    )
