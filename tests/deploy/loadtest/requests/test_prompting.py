"""Which conversation a request belongs to, and when it is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from serve_deploy.generation.asking import Asking
from serve_deploy.loadtest.requests.prompting import Prompting, Speaker
from serve_deploy.prompts.prompt import Conversation, Message, Turn


class Numbered(Sequence[Conversation]):
    """Conversations of two turns whose text is their index; notes which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return Conversation((Turn((Message("user", str(index)),)), Turn((Message("user", "more"),))), 0.0)


class Bare:
    """Requests as they are."""

    def write(self, document: dict[str, Any], _request_id: str) -> bytes:
        """The document as JSON."""
        return json.dumps(document).encode()


def open_speaker(conversations: Numbered, *, is_trace: bool = False, worker: int = 0, workers: int = 1) -> Speaker:
    """One worker's conversations, over chat."""
    asking = Asking(protocol="chat", model="llm")
    return Prompting(conversations, asking, Bare(), starts_again=is_trace).open(worker, workers)


def said(speaker: Speaker) -> list[str]:
    """What all messages of the next request say."""
    return [message["content"] for message in json.loads(speaker.next().data)["messages"]]


def on_a_loop(test: Callable[[], Any]) -> None:
    """Run it where a worker would."""

    async def run() -> None:
        test()

    asyncio.run(run())


def test_a_request_is_made_before_it_is_due() -> None:
    """So that the time this takes is not in its latency."""
    conversations = Numbered()

    async def run() -> None:
        speaker = open_speaker(conversations)
        speaker.begin()
        assert conversations.asked == [0]
        assert said(speaker) == ["0"]
        assert conversations.asked == [0]
        await asyncio.sleep(0)
        assert conversations.asked == [0, 1]

    asyncio.run(run())


def test_prompts_go_on_with_each_period_and_a_trace_starts_again() -> None:
    """A prompt that was sent is in the server's cache; a trace is what it is."""

    def run() -> None:
        for is_trace, then in ((False, ["7"]), (True, ["1"])):
            speaker = open_speaker(Numbered(), is_trace=is_trace, worker=1, workers=3)
            speaker.begin()
            assert [said(speaker), said(speaker)] == [["1"], ["4"]]
            speaker.begin()
            assert said(speaker) == then

    on_a_loop(run)


@pytest.mark.parametrize("prepares", [True, False])
def test_arrivals_that_were_given_up_take_their_prompts_along(prepares: bool) -> None:
    """Of a trace, whether or not the next one was made already; other prompts are not lost."""

    async def run() -> None:
        for is_trace, then in ((True, ["11"]), (False, ["5"])):
            speaker = open_speaker(Numbered(), is_trace=is_trace, worker=1, workers=2)
            speaker.begin()
            assert [said(speaker), said(speaker)] == [["1"], ["3"]]
            await asyncio.sleep(0) if prepares else None
            speaker.skip(3)
            assert said(speaker) == then

    asyncio.run(run())


def test_the_next_turn_carries_what_the_server_answered() -> None:
    """And goes before the first turn of another conversation."""

    def run() -> None:
        speaker = open_speaker(Numbered())
        speaker.begin()
        request = speaker.next()
        assert request.talk.go_on("sure", 0.0) == 0.0
        assert said(speaker) == ["0", "sure", "more"]
        assert said(speaker) == ["1"]

    on_a_loop(run)


def test_a_conversation_does_not_go_on_in_another_period() -> None:
    """Its user has left."""

    def run() -> None:
        speaker = open_speaker(Numbered())
        speaker.begin()
        speaker.next().talk.go_on("sure", 0.0)
        speaker.begin()
        assert said(speaker) == ["1"]

    on_a_loop(run)
