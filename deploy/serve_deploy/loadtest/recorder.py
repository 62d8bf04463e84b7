"""What a worker notes of each request, and hands to its parent in bulk."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

SUCCEEDED = 0
TIMED_OUT = 1
NEVER_SENT = float("nan")


@dataclass(frozen=True)
class SampleBlock:
    """Requests that ended: rows of four float64: intended, sent (perhaps NaN), end (monotonic seconds), outcome.

    `streams` holds, of streamed requests, pairs: seconds from the intended send to the first response, responses.
    `never_sent` holds pairs, too: seconds from the intended send until it was given up, requests.
    """

    rows: bytes
    in_flight: int
    streams: bytes = b""
    never_sent: bytes = b""


@dataclass(frozen=True)
class Kind:
    """One kind of failure with one example; `code` stands for it in the blocks."""

    code: int
    name: str
    example: str


class Recorder:
    """Appends to one flat list; what is kept per request goes with every block."""

    def __init__(self) -> None:
        # Rows of four, as in a block. Whoever is in a hurry extends it directly; it stays the same list.
        self.flat: list[float] = []
        self._streams: list[float] = []
        self._never_sent: list[float] = []
        self.kinds: dict[str, Kind] = {}

    def record(self, intended: float, sent: float, end: float, code: int) -> None:
        """Note one request that ended."""
        self.flat += (intended, sent, end, code)

    def record_stream(self, first_seconds: float, responses: int) -> None:
        """Note what a request has besides its end if it was answered in several parts."""
        self._streams += (first_seconds, responses)

    def note_never_sent(self, waited_seconds: float, requests: int) -> None:
        """Note requests that were due and given up before they could be sent."""
        if requests:
            self._never_sent += (waited_seconds, requests)

    def code_of(self, kind: str, example: str) -> int:
        """The code of a kind of failure; its first text is kept as the example."""
        known = self.kinds.get(kind)
        if known is None:
            # Kinds are few by construction; what exceeds a byte is one kind.
            code = min(len(self.kinds) + TIMED_OUT + 1, 255)
            known = self.kinds[kind] = Kind(code, kind, example[:500])
        return known.code

    def take(self, in_flight: int) -> SampleBlock:
        """What was recorded since the last call."""
        rows, streams, never_sent = (
            array("d", noted).tobytes() for noted in (self.flat, self._streams, self._never_sent)
        )
        for noted in (self.flat, self._streams, self._never_sent):
            noted.clear()
        return SampleBlock(rows, in_flight, streams, never_sent)
