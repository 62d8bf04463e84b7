"""The heart of a worker: slots that send, the recorder that notes, and the period that decides what comes next."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from serve_deploy.loadtest.clients.recorder import NEVER_SENT, TIMED_OUT, Recorder

# What says that the server is gone; everything else is an answer.
LOSS_KINDS = frozenset({"connect", "reset"})


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send, and what to expect: whatever the client's validation understands."""

    data: bytes
    expected: Any = None


class Slot(Protocol):
    """Something that carries one request at a time: a connection, or a call on a channel."""

    sent: float
    intended: float
    is_busy: bool
    is_open: bool

    def send(self, intended: float) -> None: ...
    def give_up(self) -> None: ...
    def close(self) -> None: ...


class Client(Protocol):
    """Opens slots to the endpoint; OSError where it cannot."""

    async def open_slot(self) -> Slot: ...
    async def close(self) -> None: ...


class Period(Protocol):
    """Decides what a slot does next."""

    in_flight: int
    done: asyncio.Future[Any]

    def next(self, slot: Slot, now: float) -> None: ...
    def rest(self, slot: Slot, until: float) -> None: ...
    def expire(self, now: float) -> None: ...


class Exchange:
    """Keeps the slots, and notes how each request ended."""

    def __init__(self, request_source: Callable[[], Callable[[], Request]], timeout_seconds: float) -> None:
        self.request_source = request_source
        self.timeout_seconds = timeout_seconds
        self.recorder = Recorder()
        self.slots: set[Slot] = set()
        self.client: Client
        self._record = self.recorder.flat.extend

    def begin(self, period: Period) -> None:
        """Let this period decide from now on."""
        self.period = period
        self._next = period.next

    def finish(self, slot: Slot, code: int) -> None:
        """The slot's request ended with this outcome; the slot is free."""
        end = monotonic()
        self._record((slot.intended, slot.sent, end, code))
        self._next(slot, end)

    def fail(self, slot: Slot, kind: str, example: str) -> None:
        """The slot's request failed."""
        self.finish(slot, self.recorder.code_of(kind, example))

    def fail_unsent(self, intended: float, kind: str, example: str) -> None:
        """A request failed before there was a slot to send it."""
        self.recorder.record(intended, NEVER_SENT, monotonic(), self.recorder.code_of(kind, example))

    def note_never_sent(self, waited_seconds: float, requests: int) -> None:
        """Requests were given up before they were sent, after waiting so long at least."""
        self.recorder.note_never_sent(waited_seconds, requests)

    def lose(self, slot: Slot) -> None:
        """The slot cannot be used again."""
        slot.is_open = False
        self.slots.discard(slot)

    async def open_slot(self) -> Slot:
        """A new slot; ConnectionError says why it could not be opened."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                slot = await self.client.open_slot()
        except (OSError, TimeoutError) as error:
            raise ConnectionError(_connect_text(error)) from error
        self.slots.add(slot)
        return slot

    async def open_slots(self, count: int) -> None:
        """See to it that there are at least `count` open slots."""
        while (missing := count - len(self.slots)) > 0:
            await asyncio.gather(*(self.open_slot() for _ in range(min(missing, 64))))

    def expire(self, now: float) -> None:
        """Give up every request that is older than the timeout."""
        oldest = now - self.timeout_seconds
        for slot in [slot for slot in self.slots if slot.is_busy and slot.sent < oldest]:
            slot.give_up()
            self.finish(slot, self.code_of_timeout(slot))
        self.period.expire(now)

    def code_of_timeout(self, _slot: Slot) -> int:
        """How the request has ended that the slot gave up."""
        return TIMED_OUT

    def note_unfinished(self, slot: Slot) -> None:
        """Note what is known of a request that nobody waits for any more."""

    def count_pieces(self) -> int:
        """The pieces that have come of answers that go on."""
        return 0


def _connect_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was refused: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "connecting timed out"
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        # asyncio puts the address in the place of the reason.
        return os.strerror(error.errno or 0)
    return str(error) or type(error).__name__
