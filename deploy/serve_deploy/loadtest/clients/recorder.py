"""What a worker notes of each request, and hands to its parent in bulk."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve_deploy.generation.answer import Answer

SUCCEEDED = 0
TIMED_OUT = 1
# A timeout as well, after the answer had begun.
STALLED = 2
NEVER_SENT = float("nan")
_ROW = 4


@dataclass(frozen=True)
class SampleBlock:
    """Requests that ended: rows of four float64: intended, sent (perhaps NaN), end (monotonic seconds), outcome.

    `streams` holds, of streamed requests, pairs: seconds from the intended send to the first response, responses.
    `never_sent` holds pairs, too: seconds from the intended send until it was given up, requests.
    `answers` holds, of answers of language models, rows of five: the request's row in `rows` (behind the last one: it
    has not ended), pieces with content, input and output tokens as the server says (NaN: it does not), input tokens by
    the tokenizer (perhaps NaN). `pieces` is when each piece came, answer after answer; `answer_ids` and `texts`, empty
    where the text is not needed, have an item an answer. `pieces_in_flight` are those of answers that go on.
    """

    rows: bytes
    in_flight: int
    streams: bytes = b""
    never_sent: bytes = b""
    answers: bytes = b""
    pieces: bytes = b""
    answer_ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    pieces_in_flight: int = 0


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
        self._answers: list[float] = []
        self._pieces: list[float] = []
        self._answer_ids: list[str] = []
        self._texts: list[str] = []
        self.kinds: dict[str, Kind] = {}

    def record(self, intended: float, sent: float, end: float, code: int) -> None:
        """Note one request that ended."""
        self.flat += (intended, sent, end, code)

    def record_stream(self, first_seconds: float, responses: int) -> None:
        """Note what a request has besides its end if it was answered in several parts."""
        self._streams += (first_seconds, responses)

    def note_answer(self, answer: Answer, known_input_tokens: float, *, keeps_text: bool) -> None:
        """Note what has come of an answer, just before its request is recorded."""
        said_input, said_output = (
            NEVER_SENT if count is None else count for count in (answer.input_tokens, answer.output_tokens)
        )
        self._answers += (len(self.flat) // _ROW, len(answer.times), said_input, said_output, known_input_tokens)
        self._pieces += answer.times
        self._answer_ids.append(answer.request_id)
        self._texts.append(answer.text if keeps_text and answer.output_tokens is None else "")

    def note_never_sent(self, waited_seconds: float, requests: int) -> None:
        """Note requests that were due and given up before they could be sent."""
        if requests:
            self._never_sent += (waited_seconds, requests)

    def code_of(self, kind: str, example: str) -> int:
        """The code of a kind of failure; its first text is kept as the example."""
        known = self.kinds.get(kind)
        if known is None:
            # Kinds are few by construction; what exceeds a byte is one kind.
            code = min(len(self.kinds) + STALLED + 1, 255)
            known = self.kinds[kind] = Kind(code, kind, example[:500])
        return known.code

    def take(self, in_flight: int, pieces_in_flight: int = 0) -> SampleBlock:
        """What was recorded since the last call."""
        numbers = (self.flat, self._streams, self._never_sent, self._answers, self._pieces)
        rows, streams, never_sent, answers, pieces = (array("d", noted).tobytes() for noted in numbers)
        answer_ids, texts = tuple(self._answer_ids), tuple(self._texts)
        for noted in (*numbers, self._answer_ids, self._texts):
            noted.clear()
        return SampleBlock(rows, in_flight, streams, never_sent, answers, pieces, answer_ids, texts, pieces_in_flight)
