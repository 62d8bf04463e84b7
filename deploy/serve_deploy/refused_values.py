"""What a validator's complaint about a value means, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORDS = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"must be at least \1"),
    (re.compile(r"Input should be greater than (\S+)"), r"must be above \1"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"must be at most \1"),
    (re.compile(r"Input should be a valid integer.*"), "must be a whole number"),
    (re.compile(r"Input should be a valid number.*"), "must be a number"),
    (re.compile(r"Input should be a valid (\w+).*"), r"must be a \1"),
    (re.compile(r"Input should be "), "must be "),
    (re.compile(r"Field required"), "is missing"),
    (re.compile(r"Extra inputs are not permitted"), "there is no such value"),
)


def say_plainly(message: str) -> str:
    """Pydantic's message as a person would say it; any other as it is."""
    for pattern, words in _WORDS:
        message = pattern.sub(words, message)
    return message


def find_path(values: Any, refusal: Mapping[str, Any]) -> str:
    """Dotted path of the value that pydantic refuses; what it calls the branches of a union is left out."""
    parts: list[str] = []
    for part in refusal["loc"]:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            continue
        parts.append(str(part))
    if refusal["type"] == "missing":
        parts.append(str(refusal["loc"][-1]))
    return ".".join(parts)
