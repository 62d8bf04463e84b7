"""What has come of one answer: when each piece came, its text, the server's counts, and what is wrong. Pure."""

from __future__ import annotations

from serve_deploy.generation import faults
from serve_deploy.generation.faults import Fault
from serve_deploy.generation.pieces import Piece


class Answer:
    """The pieces with content, and when each came; of several faults the first one counts.

    `parts` hold the text as it travelled: it is put together and decoded once, so that a character may be split.
    `most_tokens` is how many were asked for at most; None where that was left to the server.
    """

    def __init__(self, request_id: str, most_tokens: int | None = None) -> None:
        self.request_id = request_id
        self.has_begun = False
        self.times: list[float] = []
        self.parts: list[bytes] = []
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.fault: Fault | None = None
        self.text = ""
        self._most_tokens = most_tokens
        self._finish_reason = ""

    def blame(self, kind: str, text: str) -> None:
        """Note a fault, unless there was one before."""
        self.fault = self.fault or (kind, text)

    def add(self, piece: Piece, raw: bytes, at: float) -> None:
        """Take in a piece, whose text travelled as `raw`, and which came at this time (monotonic seconds)."""
        if piece.error is not None:
            self.blame(faults.ERROR, piece.error)
        if piece.input_tokens is not None:
            self.input_tokens = piece.input_tokens
        if piece.output_tokens is not None:
            self.output_tokens = piece.output_tokens
        elif piece.tokens is not None:
            self.output_tokens = (self.output_tokens or 0) + piece.tokens
        if raw:
            self.times.append(at)
            self.parts.append(raw)
        if self._finish_reason and (raw or piece.finish_reason):
            self.blame(faults.REPEATED, "the answer went on after its finish_reason")
        self._finish_reason = self._finish_reason or piece.finish_reason

    def end(self) -> Fault | None:
        """The stream has ended in order: put `text` together, and say what is wrong, None where nothing is."""
        if not self.times:
            self.blame(faults.EMPTY, "the stream ended without content")
        try:
            self.text = self._decode(b"".join(self.parts))
        except UnicodeError as error:
            self.blame(faults.ENCODING, f"the text is not UTF-8: {error}")
        except ValueError as error:
            self.blame(faults.MALFORMED, f"the text is not a JSON string: {error}")
        self._check_length()
        return self.fault

    def _decode(self, content: bytes) -> str:
        return content.decode()

    def _check_length(self) -> None:
        said, most = self.output_tokens, self._most_tokens
        if said == 0:
            self.blame(faults.TRUNCATED, "the server counts 0 tokens in an answer with content")
        elif said is not None and most is not None and self._finish_reason == "length" and said < most:
            text = f"the answer ended for its length, after {said:,} of the {most:,} tokens that were asked for"
            self.blame(faults.TRUNCATED, text)
