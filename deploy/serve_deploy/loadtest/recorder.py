"""What a worker notes of each request, and hands to its parent in bulk."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

SUCCEEDED = 0
TIMED_OUT = 1
NEVER_SENT = float("nan")


@dataclass(frozen=True)
class SampleBlock:
    """Requests that ended: monotonic seconds as packed float64, outcome codes as bytes; `sent` may be NaN."""

    intended: bytes
    sent: bytes
    end: bytes
    codes: bytes
    in_flight: int


@dataclass(frozen=True)
class Kind:
    """One kind of failure with one example; `code` stands for it in the blocks."""

    code: int
    name: str
    example: str


class Recorder:
    """Appends to flat arrays: no object is kept per request."""

    def __init__(self) -> None:
        self._intended, self._sent, self._end = array("d"), array("d"), array("d")
        self._codes = array("B")
        self.kinds: dict[str, Kind] = {}

    def record(self, intended: float, sent: float, end: float, code: int) -> None:
        """Note one request that ended."""
        self._intended.append(intended)
        self._sent.append(sent)
        self._end.append(end)
        self._codes.append(code)

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
        block = SampleBlock(
            self._intended.tobytes(), self._sent.tobytes(), self._end.tobytes(), self._codes.tobytes(), in_flight
        )
        self._intended, self._sent, self._end = array("d"), array("d"), array("d")
        self._codes = array("B")
        return block
