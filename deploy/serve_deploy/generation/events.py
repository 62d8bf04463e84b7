"""Server-sent events: bytes, however they were cut, into the data of each event. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_FIELDS = frozenset((b"data", b"id", b"event", b"retry"))


@dataclass(frozen=True, slots=True)
class Event:
    """The data of one event, its lines joined; `id` is None where it has none."""

    data: bytes
    id: bytes | None = None


class EventReader:
    """Reads a stream by the rules of the HTML standard: any line ends, comments, data of several lines.

    `stray` is the first line that is no field of an event: the stream may be something else.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._id: bytes | None = None
        self._is_first = True
        self.stray: bytes | None = None

    @property
    def is_between_events(self) -> bool:
        """Whether nothing of a further event has arrived."""
        return not (self._rest or self._data or self._id)

    def feed(self, content: bytes) -> Iterator[Event]:
        """The events that are whole now."""
        content = self._rest + content
        if self._is_first:
            content = content.removeprefix(b"\xef\xbb\xbf")
        lines = content.splitlines(keepends=True)
        self._rest = b""
        # The last line may go on, and a carriage return may be half of its end.
        if lines and not lines[-1].endswith(b"\n"):
            self._rest = lines.pop()
        for line in lines:
            self._is_first = False
            event = self._take_line(line.rstrip(b"\r\n"))
            if event:
                yield event

    def finish(self) -> Iterator[Event]:
        """What the end of the stream completes: a last event without an empty line after it."""
        yield from self.feed(b"\n\n")

    def _take_line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id":
            self._id = value
        elif name and name not in _FIELDS and self.stray is None:
            self.stray = line
        return None

    def _dispatch(self) -> Event | None:
        data, self._data = self._data, []
        identity, self._id = self._id, None
        return Event(b"\n".join(data), identity) if data else None
