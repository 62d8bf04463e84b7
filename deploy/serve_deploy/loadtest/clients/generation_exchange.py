"""The exchange of a load test of a language model: what each answer holds is noted with the end of its request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, cast

from serve_deploy.generation import faults
from serve_deploy.generation.answer import Answer
from serve_deploy.loadtest.clients.exchange import Exchange, Period, Request, Slot
from serve_deploy.loadtest.clients.recorder import STALLED, SUCCEEDED, TIMED_OUT

_IDLE_SECONDS, _CROSSING_SECONDS = 1.0, 0.25


class Talk(Protocol):
    """What a request and its answer belong to."""

    @property
    def known_input_tokens(self) -> float:
        """Input tokens by the tokenizer; NaN where they are not known."""

    def go_on(self, answer: str, now: float) -> float:
        """Make the next turn ready; the time at which it is to be sent, 0 where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest(Request):
    """A request, the answer that is to come, and the conversation that both belong to."""

    answer: Answer
    talk: Talk


class Prompter(Protocol):
    """Where the requests of all slots come from."""

    def __call__(self) -> Callable[[], PromptRequest]: ...

    def begin(self) -> None:
        """A new period begins."""

    def skip(self, count: int) -> None:
        """So many requests were given up before they were made."""

    def put_back(self, request: PromptRequest) -> None:
        """This request was not taken, and is the next one to be sent."""


class AnswerSlot(Slot, Protocol):
    """A slot whose request has an answer; `free_since` is when its last one ended, infinity if there was none."""

    request: PromptRequest
    free_since: float


class GenerationExchange(Exchange):
    """A reply that came in order may still be a broken answer; a broken one says how it broke."""

    def __init__(self, prompter: Prompter, timeout_seconds: float, *, keeps_text: bool) -> None:
        super().__init__(prompter, timeout_seconds)
        self._prompter = prompter
        self._keeps_text = keeps_text
        self._repetitions: set[asyncio.Task[None]] = set()

    def begin(self, period: Period) -> None:
        """Let this period decide from now on, with requests of its own."""
        super().begin(period)
        self._prompter.begin()

    def note_never_sent(self, waited_seconds: float, requests: int) -> None:
        """Note requests that were given up; their prompts are nobody else's."""
        super().note_never_sent(waited_seconds, requests)
        self._prompter.skip(requests)

    def fail_unsent(self, intended: float, kind: str, example: str) -> None:
        """A request failed before there was a slot to send it."""
        super().fail_unsent(intended, kind, example)
        self._prompter.skip(1)

    def finish(self, slot: Slot, code: int) -> None:
        """The slot's request ended with this outcome; the slot is free."""
        end = monotonic()
        asked = cast("AnswerSlot", slot)
        asked.free_since = end
        answer, talk = asked.request.answer, asked.request.talk
        if code == SUCCEEDED:
            fault = answer.end()
            if fault:
                code = self.recorder.code_of(*fault)
        self.recorder.note_answer(answer, talk.known_input_tokens, keeps_text=self._keeps_text)
        self._record((slot.intended, slot.sent, end, code))
        due = talk.go_on(answer.text, end) if code == SUCCEEDED else 0.0
        if due > end:
            self.period.rest(slot, due)
        else:
            self._next(slot, end)

    def fail(self, slot: Slot, kind: str, example: str) -> None:
        """The slot's request failed; what was wrong with its answer before that counts first."""
        asked = cast("AnswerSlot", slot)
        answer = asked.request.answer
        if kind == "reset" and answer.has_begun:
            kind = faults.CUT
        elif kind == "reset" and _met_its_end(asked):
            task = asyncio.get_running_loop().create_task(self._send_again(asked))
            self._repetitions.add(task)
            task.add_done_callback(self._repetitions.discard)
            return
        super().fail(slot, *(answer.fault or (kind, example)))

    async def _send_again(self, slot: AnswerSlot) -> None:
        period = self.period
        try:
            fresh = await self.open_slot()
        except ConnectionError as error:
            super().fail(slot, "connect", str(error))
            return
        if self.period is period and not period.done.done():
            self._prompter.put_back(slot.request)
            fresh.send(slot.intended)

    def code_of_timeout(self, slot: Slot) -> int:
        """How the request has ended that the slot gave up."""
        answer = cast("AnswerSlot", slot).request.answer
        if answer.fault:
            return self.recorder.code_of(*answer.fault)
        return STALLED if answer.has_begun else TIMED_OUT

    def note_unfinished(self, slot: Slot) -> None:
        """Note what has come of an answer that nobody waits for any more."""
        request = cast("AnswerSlot", slot).request
        self.recorder.note_answer(request.answer, request.talk.known_input_tokens, keeps_text=False)

    def count_pieces(self) -> int:
        """The pieces that have come of answers that go on."""
        return sum(len(cast("AnswerSlot", slot).request.answer.times) for slot in self.slots if slot.is_busy)


def _met_its_end(slot: AnswerSlot) -> bool:
    """Whether the server was just closing the connection, which had idled, when the request was sent.

    Servers of OpenAI's protocol do that after 5 s: as long as a user may think.
    """
    had_idled = slot.sent - slot.free_since >= _IDLE_SECONDS
    return had_idled and monotonic() - slot.sent <= _CROSSING_SECONDS
