"""Write the answers small: types as characters, combinations as products, and only what changes between versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from probes import bound_constraints

_CHARACTERS = "".join(map(chr, (*range(48, 58), *range(65, 91), *range(97, 123), *range(0xC0, 0x180))))


def encode_table(surveys: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The table of all versions, oldest first; `serve_deploy.kernels` reads it."""
    texts = sorted({text for s in surveys.values() for entry in s.values() for key in entry.verdicts for text in key})
    characters = dict(zip(texts, _CHARACTERS, strict=False))
    keys = sorted({key for survey in surveys.values() for key in survey})
    return {
        "onnxruntimes": list(surveys),
        "types": {character: text for text, character in characters.items()},
        "operators": {key: _encode_operator(key, surveys, characters) for key in keys},
    }


def write_table(table: dict[str, Any]) -> str:
    """As JSON with a line for each operator, so that a diff can be read."""
    head = {key: value for key, value in table.items() if key != "operators"}
    lines = ",\n".join(f"{_to_json(key)}:{_to_json(value)}" for key, value in table["operators"].items())
    return f'{_to_json(head)[:-1]},"operators":{{\n{lines}\n}}}}\n'


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _encode_operator(
    key: str, surveys: Mapping[str, Mapping[str, Any]], characters: Mapping[str, str]
) -> dict[str, Any]:
    words = _accepted_words(key, surveys)
    newest = next(survey[key].operator for survey in reversed(surveys.values()) if key in survey)
    entry: dict[str, Any] = {"constraints": bound_constraints(newest)}
    if newest.domain.startswith("com.microsoft"):  # onnx knows the others
        entry |= {"inputs": [f.constraint for f in newest.inputs], "outputs": [f.constraint for f in newest.outputs]}
    changes: list[Any] = []
    for index, survey in enumerate(surveys.values()):
        change = _encode_answers(survey[key], entry["constraints"], characters, words) if key in survey else None
        if change != (changes[-1][1] if changes else None):
            changes.append([index, change])
    return {**entry, "since": changes}


def _encode_answers(
    answers: Any, constraints: list[str], characters: Mapping[str, str], words: Mapping[str, set[str]]
) -> dict[str, Any]:
    own = bound_constraints(answers.operator)
    change: dict[str, Any] = {"constraints": own} if own != constraints else {}
    for name, verdict in (("runs", "yes"), ("unclear", "unknown")):
        keys = [tuple(characters[t] for t in key) for key, v in answers.verdicts.items() if v == verdict]
        change |= {name: _product(keys)} if keys else {}
    refused = [refusal for r in answers.refuses if (refusal := _refuse_words(r, words)) is not None]
    return {**change, "refuses": refused} if refused else change


def _accepted_words(key: str, surveys: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """The words for each attribute that some version takes: the others are only words of its description."""
    accepted: dict[str, set[str]] = {}
    for survey in surveys.values():
        for refusal in survey[key].refuses if key in survey else ():
            for name, value in refusal.items():
                if isinstance(value, list) and name != "unless":
                    accepted.setdefault(name, set()).update(value)
    return accepted


def _refuse_words(refusal: dict[str, Any], words: Mapping[str, set[str]]) -> dict[str, Any] | None:
    (name, value), *rest = refusal.items()
    if not isinstance(value, list):
        return refusal
    refused = sorted(words[name] - set(value))
    return {name: refused} if refused and not rest else None


def _product(keys: list[tuple[str, ...]]) -> Any:
    """Combinations as nested products: the characters of the first constraint, by what they go with."""
    if not keys:
        return ""
    if len(keys[0]) <= 1:
        return "".join(sorted({key[0] for key in keys if key}) or ["*"])
    rest: dict[str, list[tuple[str, ...]]] = {}
    for key in keys:
        rest.setdefault(key[0], []).append(key[1:])
    merged: dict[str, tuple[str, Any]] = {}
    for character in sorted(rest):
        product = _product(rest[character])
        known, _ = merged.get(repr(product), ("", None))
        merged[repr(product)] = (known + character, product)
    return dict(merged.values())
