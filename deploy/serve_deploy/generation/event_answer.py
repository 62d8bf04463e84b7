"""An answer that comes as server-sent events, of Triton or OpenAI. Pure."""

from __future__ import annotations

import json
import re

from serve_deploy.generation import faults
from serve_deploy.generation.answer import Answer
from serve_deploy.generation.events import Event, EventReader
from serve_deploy.generation.faults import Fault
from serve_deploy.generation.pieces import Piece, ReadPiece

_DONE = b"[DONE]"
_NEVER = b"\0"
_BACKSLASH = 92
_MOST_SHOWN_BYTES = 2000
_SURROGATE = re.compile("[\ud800-\udfff]")


class EventAnswer(Answer):
    """Reads the body of the reply as it comes.

    Pieces of one answer differ in their text alone: what stands before and after it is learned from one piece, and
    later ones are not parsed. Between the same bytes a text without quotes cannot end early, so that this is exact.
    """

    def __init__(
        self, request_id: str, read_piece: ReadPiece, *, has_end_mark: bool, most_tokens: int | None = None
    ) -> None:
        super().__init__(request_id, most_tokens)
        self.ends_with_connection = False
        self._read_piece = read_piece
        self._has_end_mark = has_end_mark
        self._events = EventReader()
        self._before, self._after = _NEVER, _NEVER
        self._start = self._stop = 0
        self._tokens = 0
        # Triton returns the id that it was given; OpenAI gives one of its own to all chunks.
        self._id = "" if has_end_mark else request_id
        self._event_ids: set[bytes] = set()
        self._is_done = False
        self._first_body = b""

    def feed(self, body: bytes, at: float) -> None:
        """Take in some of the body, which came at this time (monotonic seconds)."""
        if body.startswith(self._before) and body.endswith(self._after):
            raw = body[self._start : self._stop]
            if raw and b'"' not in raw and raw[-1] != _BACKSLASH:
                self.times.append(at)
                self.parts.append(raw)
                if self._tokens:
                    self.output_tokens = (self.output_tokens or 0) + self._tokens
                return
        self._feed_slowly(body, at)

    def _feed_slowly(self, body: bytes, at: float) -> None:
        self._before = _NEVER
        self._first_body = self._first_body or body[:_MOST_SHOWN_BYTES]
        was_between = self._events.is_between_events
        events = list(self._events.feed(body))
        is_alone = was_between and len(events) == 1 and self._events.is_between_events
        for event in events:
            self._take(event, at, body if is_alone else b"")

    def _take(self, event: Event, at: float, body: bytes) -> None:
        if self._is_done:
            self.blame(faults.REPEATED, "an event came after [DONE]")
        if event.id is not None:
            if event.id in self._event_ids:
                self.blame(faults.REPEATED, f"the event with the id {faults.show(event.id)} came twice")
            self._event_ids.add(event.id)
        if event.data == _DONE and self._has_end_mark:
            self._is_done = True
            return
        try:
            piece = self._read_piece(json.loads(event.data.decode(errors="surrogateescape")))
        except (ValueError, AttributeError, TypeError, KeyError, IndexError):
            self.blame(faults.MALFORMED, f"an event holds something else than an answer: {faults.show(event.data)}")
            return
        if piece.id:
            if not self._id:
                self._id = self.request_id = piece.id
            if piece.id != self._id:
                self.blame(faults.WRONG_REQUEST, f"a piece of {piece.id} came in the answer to {self._id}")
        self._take_piece(piece, event.data, at, body if event.id is None else b"")

    def _take_piece(self, piece: Piece, data: bytes, at: float, body: bytes) -> None:
        place = _find_text(data, piece) if piece.text else None
        raw = data[slice(*place)] if place else json.dumps(piece.text)[1:-1].encode()
        self.add(piece, raw, at)
        if place and body.count(data) == 1 and not self._finish_reason and not piece.has_totals:
            start = body.index(data) + place[0]
            self._before, self._after = body[:start], body[start + len(raw) :]
            self._start, self._stop = start, start + len(raw) - len(body)
            self._tokens = piece.tokens or 0

    def end(self) -> Fault | None:
        """The body has ended in order."""
        at = self.times[-1] if self.times else 0.0
        for event in self._events.finish():
            if event.data == _DONE or _is_json(event.data):
                self._take(event, at, b"")
            else:
                self.blame(faults.NO_END, f"the stream ended inside an event: {faults.show(event.data)}")
        if self._events.stray is not None and not self.times:
            self._blame_other()
        self._check_end()
        return super().end()

    def _check_end(self) -> None:
        if not self.times:
            return
        if self._has_end_mark and not self._is_done:
            self.blame(faults.NO_END, "the stream ended without [DONE]")
        elif self._has_end_mark and not self._finish_reason:
            self.blame(faults.NO_END, "the stream ended without a finish_reason")
        elif self.ends_with_connection and not self._has_end_mark:
            self.blame(faults.NO_END, "the connection ended; nothing says whether that was the end of the answer")

    def _blame_other(self) -> None:
        """It was no stream of events: perhaps a document that says why."""
        try:
            error = json.loads(self._first_body).get("error")
        except (ValueError, AttributeError):
            error = None
        if error:
            self.blame(faults.ERROR, faults.error_text(error))
        else:
            self.blame(faults.MALFORMED, f"no stream of events: {faults.show(self._events.stray or b'')}")

    def _decode(self, content: bytes) -> str:
        text = content.decode()
        if "\\" not in text:
            return text
        text = str(json.loads(f'"{text}"', strict=False))
        if _SURROGATE.search(text):
            # Halves of a character, each in a piece of its own.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return text


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _find_text(data: bytes, piece: Piece) -> tuple[int, int] | None:
    """Where the text stands in the document, inside its quotes; None where that is not certain."""
    literal = rb'"%s"\s*:\s*"((?:[^"\\]|\\.)*)"' % re.escape(piece.key.encode())
    places = [match.span(1) for match in re.finditer(literal, data, re.DOTALL) if _means(match[1], piece.text)]
    return places[0] if len(places) == 1 else None


def _means(raw: bytes, text: str) -> bool:
    return bool(json.loads(f'"{raw.decode(errors="surrogateescape")}"', strict=False) == text)
