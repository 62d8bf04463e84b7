"""Server-sent events are read by the standard's rules, however the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.generation.events import EventReader

STREAM = (
    b"\xef\xbb\xbf: a ping\n\ndata: one\n\ndata:two\r\n\r\nid: 7\ndata: three\ndata:  and four\n\n"
    b"event: message\rdata: five\r\rretry: 10\n\ndata\n\ndata: \xf0\x9f\x8d\xb5\n\n"
)
DATA = [b"one", b"two", b"three\n and four", b"five", b"", "🍵".encode()]


def read(parts: list[bytes]) -> tuple[list[bytes], EventReader]:
    reader = EventReader()
    events = [event for part in parts for event in reader.feed(part)]
    return [event.data for event in [*events, *reader.finish()]], reader


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    """Also inside a line end, a byte order mark or a character."""
    edges = [0, *cuts, len(STREAM)]
    parts = [STREAM[start:stop] for start, stop in itertools.pairwise(edges)]
    assert read(parts)[0] == DATA


def test_an_event_keeps_its_id_to_itself() -> None:
    """The next one has none."""
    events = list(EventReader().feed(b"id: 7\ndata: a\n\ndata: b\n\n"))
    assert [event.id for event in events] == [b"7", None]


def test_a_last_event_without_an_empty_line_counts() -> None:
    """Some servers forget it."""
    assert read([b"data: a\n\ndata: [DONE]"])[0] == [b"a", b"[DONE]"]


@pytest.mark.parametrize(
    ("stream", "stray"),
    [(b"<html>\n</html>", b"<html>"), (b'{"error": 1}', b'{"error": 1}'), (b"data: a\n\n: b\nretry: 1\n\n", None)],
)
def test_lines_that_are_no_fields_are_noticed(stream: bytes, stray: bytes | None) -> None:
    """What is no stream of events has them."""
    assert read([stream])[1].stray == stray
