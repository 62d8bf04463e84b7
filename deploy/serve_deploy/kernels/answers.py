"""Whether an ONNX Runtime runs the operators of a model, and in words why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from serve_deploy.kernels.table import Entry, KernelTable

Verdict = Literal["runs", "refused", "unknown"]


@dataclass(frozen=True)
class OperatorUse:
    """A node: its operator in the version that the model's opset selects (0: not known) and its types.

    `types` has each type constraint with the types bound to it, None for one that could not be inferred, and
    `attributes` each integer and string.
    """

    domain: str
    name: str
    since: int
    types: frozenset[tuple[str, frozenset[str | None]]] = frozenset()
    attributes: frozenset[tuple[str, int | str]] = frozenset()

    @property
    def key(self) -> str:
        return f"{self.domain}:{self.name}:{self.since}"

    @property
    def label(self) -> str:
        domain = f"{self.domain} " if self.domain else ""
        return f"{self.name} ({domain}{self.since})" if self.since else f"{domain}{self.name}"


@dataclass(frozen=True)
class Answer:
    """What an ONNX Runtime does with a model's operators, and the operators that decide it, each once."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def answer_all(uses: Iterable[OperatorUse], onnxruntime: str, table: KernelTable) -> Answer:
    """`refused` where any operator is, else `unknown` where any is, each with its reasons."""
    if onnxruntime not in table.onnxruntimes:
        return Answer("unknown", (f"ONNX Runtime {onnxruntime} has no wheel to try operators on",))
    found: dict[Verdict, dict[str, None]] = {"runs": {}, "refused": {}, "unknown": {}}
    for use in uses:
        verdict, reason = _answer(use, onnxruntime, table)
        found[verdict][reason] = None
    for verdict in ("refused", "unknown"):
        if found[verdict]:
            return Answer(verdict, tuple(found[verdict]))
    return Answer("runs")


def _answer(use: OperatorUse, onnxruntime: str, table: KernelTable) -> tuple[Verdict, str]:
    if use.key not in table.operators:
        return "unknown", use.label
    entry = table.find(use.key, onnxruntime)
    if entry is None:
        return "refused", use.label
    bound = dict(use.types)
    for combination in itertools.product(*(bound.get(name, (None,)) for name in entry.constraints)):
        characters = [table.characters.get(text, "?") if text else None for text in combination]
        if not _matches(entry.runs, characters):
            types = ", ".join(sorted({_short(text) for text in combination if text}))
            unclear = _matches(entry.unclear, characters)
            return "unknown" if unclear else "refused", f"{use.label} of {types}" if types else use.label
    if any(None in types for types in bound.values()):
        return "unknown", f"{use.label}, whose types could not be inferred"
    return _check_attributes(use, entry)


def _short(text: str) -> str:
    return text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text


def _matches(product: Any, characters: Sequence[str | None]) -> bool:
    """Whether nested products hold the combination; a type that is not known, or not bound, fits any."""
    if not product:
        return False
    if isinstance(product, str):
        return not characters or characters[0] is None or characters[0] in product
    first, rest = characters[0], characters[1:]
    return any((first is None or first in known) and _matches(inner, rest) for known, inner in product.items())


def _check_attributes(use: OperatorUse, entry: Entry) -> tuple[Verdict, str]:
    attributes = dict(use.attributes)
    for refusal in entry.refuses:
        values = {name: value for name, value in refusal.items() if name != "unless"}
        is_met = all(_fits(attributes.get(name), value) for name, value in values.items())
        if is_met and not any(name in attributes for name in refusal.get("unless", ())):
            return "refused", f"{use.label} with " + " and ".join(f"{name}={attributes[name]}" for name in values)
    return "runs", ""


def _fits(value: int | str | None, refused: Any) -> bool:
    if value is None:
        return False
    if isinstance(refused, list):
        return value in refused
    return refused == "*" or value == refused or (refused == "+" and isinstance(value, int) and value > 1)
