"""One document of a stream, of Triton or OpenAI, as what it adds to the answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serve_deploy.generation.faults import error_text

Document = dict[str, Any]
# What delta may hold instead of content, and what counts as the answer, too.
_DELTAS = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one document says; `tokens` counts this piece's alone, `output_tokens` the whole answer's so far.

    `key` is that of the text, where it stands in the document under one.
    """

    text: str = ""
    key: str = ""
    id: str = ""
    finish_reason: str = ""
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = None

    @property
    def has_totals(self) -> bool:
        """Whether it says something that the next piece will not say alike."""
        return self.error is not None or self.output_tokens is not None


ReadPiece = Callable[[Document], Piece]


def triton_reader(text_output: str) -> ReadPiece:
    """Read the documents of generate_stream, whose text is in this tensor."""

    def read(document: Document) -> Piece:
        text = document.get(text_output, "")
        return Piece(
            text="".join(map(str, text)) if isinstance(text, list) else str(text),
            key=text_output,
            id=str(document.get("id", "")),
            error=error_text(document["error"]) if "error" in document else None,
            input_tokens=_count(document.get("num_input_tokens")),
            tokens=_count(document.get("num_output_tokens")),
        )

    return read


def read_completion(document: Document) -> Piece:
    """Read a chunk of /v1/completions."""
    return _read_choice(document, lambda choice: ("text", choice.get("text")))


def read_chat(document: Document) -> Piece:
    """Read a chunk of /v1/chat/completions: content, reasoning, or the arguments of a call."""
    return _read_choice(document, _read_delta)


def _read_delta(choice: Document) -> tuple[str, Any]:
    delta = choice.get("delta") or {}
    for key in _DELTAS:
        if delta.get(key):
            return key, delta[key]
    calls = delta.get("tool_calls") or ()
    return "arguments", "".join(str((call.get("function") or {}).get("arguments") or "") for call in calls)


def _read_choice(document: Document, read_text: Callable[[Document], tuple[str, Any]]) -> Piece:
    if document.get("error") or document.get("object") == "error":
        return Piece(error=error_text(document.get("error") or document))
    choices, usage = document.get("choices") or (), document.get("usage") or {}
    key, text = read_text(choices[0]) if choices else ("", "")
    return Piece(
        text=str(text or ""),
        key=key,
        id=str(document.get("id") or ""),
        finish_reason=str((choices[0].get("finish_reason") if choices else "") or ""),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int | None:
    if isinstance(value, list):
        return sum(value)
    return int(value) if isinstance(value, int | float) else None
