"""Which values of attributes an operator refuses although it has a kernel: unknown ones, and unimplemented modes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from onnx import AttributeProto
from probes import Operator

_INTEGERS = (-1, 0, 1, 2, 3, 4, 8)
_NONSENSE = "qzx"
# What says that the value is at fault; shape inference may complain of what a probe has no shapes for.
_REFUSALS = ("Unrecognized attribute", "Exception during initialization", "NOT_IMPLEMENTED")
_PAIR_REFUSALS = (*_REFUSALS, "InferenceError")
_UNTRIED = ("TfIdfVectorizer",)  # its attributes describe one another
_FREE = ("to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision", "axis", "hidden_size")


def choose_values(operator: Operator) -> list[dict[str, Any]]:
    """One value of one attribute for each probe."""
    probes: list[dict[str, Any]] = []
    for name, attribute in operator.attributes.items() if operator.name not in _UNTRIED else ():
        if attribute.kind == AttributeProto.INT and name not in _FREE:
            probes += [{name: value} for value in _INTEGERS]
        elif attribute.kind == AttributeProto.INT:
            probes.append({name: 1})
        elif attribute.kind == AttributeProto.STRING:
            probes += [{name: word} for word in (_NONSENSE, *attribute.words)]
        elif attribute.kind == AttributeProto.FLOAT:
            probes.append({name: 1.0})
        elif attribute.kind == AttributeProto.INTS:
            probes.append({name: (1,)})
    return probes


def choose_pairs(operator: Operator, singles: Mapping[tuple[str, Any], str]) -> list[dict[str, Any]]:
    """Two attributes at once: switches that may exclude each other, and what a refused value may need beside it."""
    names = dict.fromkeys(name for name, _ in singles)
    switches = [name for name in names if singles.get((name, 1)) == "" and singles.get((name, 0)) == ""]
    pairs: list[dict[str, Any]] = [{a: 1, b: 1} for a, b in itertools.combinations(switches, 2)]
    for (name, value), answer in singles.items():
        if isinstance(value, int) and is_refused(answer) and "Unrecognized" not in answer:
            pairs += [
                {name: value, other: beside}
                for other, beside in singles
                if other != name and beside in _company(operator, other)
            ]
    return pairs


def _company(operator: Operator, name: str) -> tuple[Any, ...]:
    """Values of another attribute that may let a value in."""
    attribute = operator.attributes[name]
    return attribute.words if attribute.kind == AttributeProto.STRING else (0, 1, 2)


def is_refused(answer: str, *, pair: bool = False) -> bool:
    """Whether the answer blames the attributes."""
    return any(words in answer for words in (_PAIR_REFUSALS if pair else _REFUSALS))


def find_refusals(
    operator: Operator, singles: Mapping[tuple[str, Any], str], pairs: Mapping[tuple[tuple[str, Any], ...], str]
) -> Iterator[dict[str, Any]]:
    """The refused values by ONNX Runtime's answers: attributes that are refused together, `unless` some others are set.

    `*` stands for any value, `+` for any integer above 1, a list for the only words that are taken.
    """
    unknown = {name for (name, _), answer in singles.items() if "Unrecognized attribute" in answer}
    yield from ({name: "*"} for name in sorted(unknown))
    for name, attribute in operator.attributes.items():
        if name in unknown:
            continue
        if attribute.kind == AttributeProto.STRING and is_refused(singles.get((name, _NONSENSE), "")):
            yield {name: sorted(word for word in attribute.words if singles[name, word] == "")}
        elif attribute.kind == AttributeProto.INT:
            refused = [v for v in _INTEGERS if is_refused(singles.get((name, v), ""))]
            if len(refused) < len(_INTEGERS):
                yield from _integers(name, refused, pairs)
    for pair, answer in pairs.items():
        if all(singles.get(item) == "" for item in pair) and is_refused(answer, pair=True):
            yield dict(pair)


def _integers(name: str, refused: list[int], answers: Mapping[Any, str]) -> Iterator[dict[str, Any]]:
    above = [v for v in _INTEGERS if v > 1]
    values: list[Any] = [v for v in refused if v <= 1]
    if set(above) <= set(refused):
        values.append("+")
    else:
        values += [v for v in refused if v > 1]
    for value in values:
        key = above[0] if value == "+" else value
        unless = sorted({pair[1][0] for pair, a in answers.items() if pair[0] == (name, key) and a == ""})
        yield {name: value, **({"unless": unless} if unless else {})}
