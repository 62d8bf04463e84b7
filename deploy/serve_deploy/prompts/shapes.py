"""The shapes that prompts have in files, told apart by their keys; from a JSON value to questions and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_deploy.prompts.lengths import LONGEST
from serve_deploy.prompts.prompt import Message

_PLAIN = ("prompt", "text", "text_input", "question")
_MESSAGES = ("messages", "conversations", "conversation")
_LENGTHS = ("max_completion_tokens", "max_tokens", "output_tokens", "output_length", "output_len")
_ROLES = {
    **{role: role for role in ("system", "developer", "user", "assistant")},
    "human": "user",
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard"), "assistant"),
}
SHAPES = (
    "a prompt is a text, or an object with messages, conversations, turns, prompt, text, text_input or question; "
    "a trace of lengths is replayed with `trace`"
)


class ShapeError(ValueError):
    """What is wrong with a record, and in which of its fields; `hint` says what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is asked, with what stands before it, and what a file says was answered."""

    question: tuple[Message, ...]
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A record's exchanges; none where nothing is asked in it. `output_tokens` is what it says of every answer."""

    exchanges: tuple[Exchange, ...]
    output_tokens: int | None = None


def read_dialogue(value: Any) -> Dialogue:
    """Recognise a text, OpenAI's messages or batch line, ShareGPT's conversation, MT-bench's turns, a plain prompt."""
    if isinstance(value, str):
        return Dialogue(_ask_each([_text("it", value)]))
    if isinstance(value, list):
        return Dialogue(_pair(_read_messages("", value)))
    if not isinstance(value, dict):
        raise ShapeError(f"it is {_kind(value)}", SHAPES)
    if isinstance(value.get("body"), dict):
        value = value["body"]
    return Dialogue(_read_exchanges(value), _read_length(value))


def _read_exchanges(value: Mapping[str, Any]) -> tuple[Exchange, ...]:
    for key in _MESSAGES:
        if key in value:
            return _pair(_read_messages(key, value[key]))
    for key in _PLAIN:
        if key in value:
            return _ask_each([_text(key, value[key])])
    if "turns" in value:
        turns = _list("turns", value["turns"])
        return _ask_each([_text(f"turns[{place}]", text) for place, text in enumerate(turns)])
    raise ShapeError(f"it has {_names(value)}", SHAPES)


def _read_length(value: Mapping[str, Any]) -> int | None:
    for key in _LENGTHS:
        if value.get(key) is not None:
            return read_token_count(key, value[key])
    return None


def read_token_count(key: str, value: Any) -> int:
    """A number of tokens in a file's field; ShapeError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or not 0 < value <= LONGEST:
        raise ShapeError(f"{key} is {show(value)}", f"give a number of tokens from 1 to {LONGEST:,}")
    return int(value)


def _read_messages(key: str, value: Any) -> Iterator[Message]:
    for place, item in enumerate(_list(key, value)):
        name = f"{key}[{place}]"
        if not isinstance(item, dict):
            raise ShapeError(f"{name} is {_kind(item)}, not a message")
        role_key, content_key = ("from", "value") if "from" in item else ("role", "content")
        role = item.get(role_key)
        if not isinstance(role, str) or role not in _ROLES:
            raise ShapeError(f"{name}.{role_key} is {show(role)}", f"known are {', '.join(_ROLES)}")
        yield Message(_ROLES[role], _read_content(f"{name}.{content_key}", item.get(content_key)))


def _read_content(name: str, value: Any) -> str:
    if not isinstance(value, list):
        return _text(name, value)
    texts = []
    for place, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise ShapeError(f"{name}[{place}] is not of type text", "only text can be sent")
        texts.append(_text(f"{name}[{place}].text", part.get("text")))
    return "".join(texts)


def _pair(messages: Iterator[Message]) -> tuple[Exchange, ...]:
    """Each answer with all that stands before it; what an assistant says before the first question is left out."""
    exchanges, asked = [], list[Message]()
    for message in messages:
        if message.role != "assistant":
            asked += [message] if message.content.strip() else []
        elif _is_question(asked):
            exchanges.append(Exchange(tuple(asked), message.content))
            asked = []
    if _is_question(asked):
        exchanges.append(Exchange(tuple(asked)))
    return tuple(exchanges)


def _is_question(messages: Sequence[Message]) -> bool:
    return any(message.role == "user" for message in messages)


def _ask_each(texts: Sequence[str]) -> tuple[Exchange, ...]:
    return tuple(Exchange((Message("user", text),)) for text in texts if text.strip())


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ShapeError(f"{name} is {_kind(value)}, not a list")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ShapeError(f"{name} is {_kind(value)}, not a text")
    # JSON can hold half a character, which no request can.
    return value.encode("utf-8", "replace").decode()


def show(value: Any) -> str:
    """The start of a JSON value, or that there is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "missing" if value is None else json.dumps(value, ensure_ascii=False)[:40]


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "missing or null"}
    return kinds.get(type(value), "a number")


def _names(value: Mapping[str, Any]) -> str:
    return "only " + ", ".join(list(value)[:8]) if value else "nothing in it"
