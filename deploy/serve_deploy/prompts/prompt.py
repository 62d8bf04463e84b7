"""A prompt, and the set of them that a load test sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.reports.point import RequestData


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says; `role` is OpenAI's: system, developer, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: the messages that are new in it; of plain text one of the user.

    `input_tokens` counts these messages' text alone, without what a chat template or the server adds; None where it is
    unknown. `output_tokens` is how many to ask for; None leaves that to the run.
    """

    messages: tuple[Message, ...]
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that follow each other, each `think_seconds` after the answer to the one before."""

    turns: tuple[Turn, ...]
    think_seconds: float = 0.0


@dataclass(frozen=True)
class PromptSet:
    """The conversations to send, in this order, starting again where they run out.

    Synthetic conversations are made anew each time one is asked for, always the same at the same index: index
    `conversations`, never list them, for there may be many millions. `arrivals` are those of a trace, one for each
    conversation, ascending seconds from the start; `origin` is what the report says of the set.
    """

    conversations: Sequence[Conversation]
    origin: RequestData
    arrivals: tuple[float, ...] | None = None
