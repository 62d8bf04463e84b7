"""A reply over HTTP that is a stream of events: each part of its body goes to the answer as it comes."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from serve_deploy.generation.event_answer import EventAnswer
from serve_deploy.loadtest.clients.http_connection import HttpConnection

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_MOST_KEPT_BYTES = 2000


class StreamBody:
    """Hears of replies from the parser of one connection; of an error's body, the start is kept."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self.on_message_complete = connection.on_message_complete
        self.ends_with_connection = False
        self._kept = b""

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self.ends_with_connection = True
        self._kept = b""
        self._feed: Callable[[bytes, float], None] = self._keep

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Called by the parser."""
        if name.lower() in _FRAMING:
            self.ends_with_connection = False

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self._connection.is_busy and self._connection.parser.get_status_code() == 200:
            answer: EventAnswer = self._connection.request.answer  # type: ignore[attr-defined]
            answer.has_begun = True
            answer.ends_with_connection = self.ends_with_connection
            self._feed = answer.feed

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._feed(body, monotonic())

    def _keep(self, body: bytes, _at: float, /) -> None:
        if len(self._kept) < _MOST_KEPT_BYTES:
            self._kept += body

    def content(self) -> bytes:
        """The start of an error's body."""
        return self._kept[:_MOST_KEPT_BYTES]

    def difference(self, _expected: Any) -> None:
        """The exchange asks the answer itself."""
