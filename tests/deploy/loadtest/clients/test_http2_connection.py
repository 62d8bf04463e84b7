"""The HTTP/2 connection without a socket: whatever arrives, in whatever pieces, and what it sends in return."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.loadtest.clients import http2_connection, http2_sending
from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.grpc_messages import MessageReader, frame_message
from serve_deploy.loadtest.clients.grpc_stream import MessageStream
from serve_deploy.loadtest.clients.http2_connection import Http2Connection
from serve_deploy.loadtest.clients.http2_sending import Buffer, Stream

REQUEST = h2.encode_literal([(":method", "POST"), (":path", "/x")])
HEAD = h2.encode_literal([(":status", "200")]).first
TRAILERS = h2.encode_literal([("grpc-status", "0")]).first
ENDED = h2.END_HEADERS | h2.END_STREAM


class Wire(Http2Connection):
    """Keeps what it would send."""

    def __init__(self, *settings: tuple[int, int]) -> None:
        super().__init__(None, REQUEST)
        self.out = bytearray()
        self.writes: list[int] = []
        self.feed(h2.frame(h2.SETTINGS, 0, 0, b"".join(h2.SETTING.pack(*setting) for setting in settings)))

    def _emit(self, data: bytes) -> None:
        self.out += data
        self.writes.append(len(data))

    def _emit_parts(self, parts: Sequence[Buffer]) -> None:
        self.out += b"".join(parts)

    def _drop(self) -> None:
        pass

    def feed(self, data: bytes) -> bytes:
        """What is left over."""
        return data[self.take(memoryview(data)) :]

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Type, flags, stream and content of what was sent since the last call."""
        frames, position = [], 0
        while position < len(self.out):
            high, low, kind, flags, number = h2.FRAME_HEAD.unpack_from(self.out, position)
            position += 9 + (high << 8 | low)
            frames.append((kind, flags, number, bytes(self.out[position - (high << 8 | low) : position])))
        self.out.clear()
        return frames


class Call(Stream):
    """Notes what it is told, data put together."""

    def __init__(self, connection: Http2Connection) -> None:
        self.events: list[Any] = []
        connection.users.add(self)

    def on_head(self, head: h2.ReplyHead, is_last: bool) -> None:
        self.events.append(("head", head, is_last))

    def on_data(self, data: memoryview, is_last: bool) -> None:
        if self.events and self.events[-1][0] == "data":
            data = memoryview(self.events.pop()[1] + bytes(data))
        self.events.append(("data", bytes(data), is_last))

    def on_reset(self, code: int) -> None:
        self.events.append(("reset", code))

    def on_unprocessed(self) -> None:
        self.events.append(("unprocessed",))

    def on_draining(self) -> None:
        self.events.append(("draining",))

    def on_lost(self, kind: str, text: str) -> None:
        self.events.append(("lost", kind))


def called(*settings: tuple[int, int], message: bytes = b"ask") -> tuple[Wire, Call]:
    """A connection with one call under way, as stream 1."""
    wire = Wire(*settings)
    call = Call(wire)
    wire.call(call, message)
    return wire, call


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """Frames of a legitimate reply to stream 1, among others that do not matter to it."""
    noise = st.sampled_from(
        [
            h2.frame(h2.PING, 0, 0, b"12345678"), h2.window_update(0, 5), h2.window_update(1, 5),
            h2.frame(77, 3, 1, b"?"), h2.frame(h2.DATA, 0, 99, b"late"), h2.frame(h2.HEADERS, ENDED, 99, HEAD),
            h2.frame(h2.SETTINGS, 0, 0, h2.SETTING.pack(h2.INITIAL_WINDOW_SIZE, 70_000)),
        ]
    )  # fmt: skip
    bodies = draw(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 9)), max_size=5))
    cut = draw(st.integers(0, len(HEAD)))
    frames = [h2.frame(h2.HEADERS, 0, 1, HEAD[:cut]) + h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, HEAD[cut:])]
    frames += [h2.frame(h2.DATA, h2.PADDED, 1, bytes([padding]) + body + bytes(padding)) for body, padding in bodies]
    frames.append(h2.frame(h2.HEADERS, ENDED, 1, TRAILERS))
    return b"".join(part for frame in frames for part in (*draw(st.lists(noise, max_size=2)), frame))


@given(replies(), st.data())
def test_a_reply_is_the_same_however_it_is_cut(reply: bytes, data: st.DataObject) -> None:
    """Read whole or in any pieces, the call hears the same."""
    whole_wire, whole = called()
    assert whole_wire.feed(reply) == b""
    wire, call = called()
    rest, position = b"", 0
    while position < len(reply):
        size = data.draw(st.integers(1, 30))
        rest = wire.feed(rest + reply[position : position + size])
        position += size
    assert (rest, call.events) == (b"", whole.events)
    assert call.events[0] == ("head", h2.ReplyHead(http_status=200), False)
    assert call.events[-1] == ("head", h2.ReplyHead(grpc_status=0), True)


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(data: bytes) -> None:
    """Whatever arrives is waited for, ignored or ends the connection as a fault of the protocol."""
    wire, call = called()
    wire.feed(data)
    assert wire.is_open or call.events[-1] == ("lost", "protocol") or wire.is_draining


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 255), st.sampled_from([0, 1, 3]), st.binary(max_size=30)),
        max_size=8,
    )
)
def test_no_frames_are_too_strange(frames: list[tuple[int, int, int, bytes]]) -> None:
    """Whole frames of every type, with any flags and content: the same."""
    wire, call = called()
    wire.feed(b"".join(h2.frame(*frame) for frame in frames))
    assert wire.is_open or call.events[-1] == ("lost", "protocol") or wire.is_draining


@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(["stream", "connection", "settings"]), st.integers(0, 40_000)), max_size=12),
)
def test_windows_of_the_peer_are_kept(sizes: list[int], grants: list[tuple[str, int]]) -> None:
    """No body exceeds what the peer allowed, and each arrives whole, in order and once, when it may."""
    initial, wire = 1000, Wire((h2.INITIAL_WINDOW_SIZE, 1000))
    messages = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    for message in messages:
        wire.call(Call(wire), message)
    numbers = [1 + 2 * index for index in range(len(messages))]
    allowed = dict.fromkeys(numbers, 0)
    allowed_in_all = h2.DEFAULT_WINDOW
    received = dict.fromkeys(numbers, b"")
    ends = []

    def check() -> None:
        for kind, flags, number, content in wire.sent():
            if kind == h2.DATA:
                received[number] += content
                assert len(received[number]) <= initial + allowed[number]
                if flags & h2.END_STREAM:
                    ends.append(number)
        assert sum(map(len, received.values())) <= allowed_in_all

    check()
    for what, size in grants:
        if what == "settings":
            initial = size
            wire.feed(h2.frame(h2.SETTINGS, 0, 0, h2.SETTING.pack(h2.INITIAL_WINDOW_SIZE, size)))
        elif what == "connection":
            allowed_in_all += size
            wire.feed(h2.window_update(0, size))
        else:
            allowed[numbers[size % len(numbers)]] += size
            wire.feed(h2.window_update(numbers[size % len(numbers)], size))
        check()
    wire.feed(h2.window_update(0, 1 << 20) + b"".join(h2.window_update(number, 1 << 20) for number in numbers))
    allowed_in_all += 1 << 20
    allowed = {number: size + (1 << 20) for number, size in allowed.items()}
    check()
    assert [received[number] for number in numbers] == messages
    assert sorted(ends) == numbers
    assert wire._waiting == []


def bodies(wire: Wire) -> list[tuple[int, int, int]]:
    """Stream, size and flags of each DATA frame that was sent since the last call."""
    return [(number, len(content), flags) for kind, flags, number, content in wire.sent() if kind == h2.DATA]


def test_the_connections_window_is_kept() -> None:
    """A large body stops where the connection's window ends, whatever the stream's allows."""
    wire, _ = called((h2.INITIAL_WINDOW_SIZE, 1 << 20), (h2.MAX_FRAME_SIZE, 1 << 17), message=bytes(70_000))
    wire.call(Call(wire), bytes(70_000))
    assert bodies(wire) == [(1, 65_535, 0)]
    wire.feed(h2.window_update(0, 10_000))
    assert bodies(wire) == [(1, 4_465, h2.END_STREAM), (3, 5_535, 0)]


def test_small_calls_share_the_connections_window() -> None:
    """Calls that would fit into a frame wait, too, once others have used the window up."""
    wire = Wire((h2.MAX_FRAME_SIZE, 40_000))
    for _ in range(3):
        wire.call(Call(wire), bytes(30_000))
    assert bodies(wire) == [(1, 30_000, h2.END_STREAM), (3, 30_000, h2.END_STREAM), (5, 5_535, 0)]
    wire.feed(h2.window_update(0, 30_000))
    assert bodies(wire) == [(5, 24_465, h2.END_STREAM)]


def test_pings_are_answered() -> None:
    """With their content; an answer is not answered."""
    wire, _ = called()
    wire.sent()
    wire.feed(h2.frame(h2.PING, 0, 0, b"12345678") + h2.frame(h2.PING, h2.ACK, 0, b"87654321"))
    assert wire.sent() == [(h2.PING, h2.ACK, 0, b"12345678")]


def test_headers_are_continued_on_their_own_stream_only() -> None:
    """A CONTINUATION for another stream is a fault of the protocol."""
    wire, call = called()
    wire.feed(h2.frame(h2.HEADERS, 0, 1, HEAD) + h2.frame(h2.CONTINUATION, h2.END_HEADERS, 3, b""))
    assert call.events == [("lost", "protocol")]


@pytest.mark.parametrize(
    ("payload", "flags", "content"),
    [
        (b"abc", 0, b"abc"),
        (b"\0abc", h2.PADDED, b"abc"),
        (b"\2abc", h2.PADDED, b"a"),
        (b"\3abc", h2.PADDED, b""),
        (b"\4abc", h2.PADDED, None),
        (b"", h2.PADDED, None),
        (b"12345abc", h2.PRIORITY, b"abc"),
        (b"\00212345abc", h2.PADDED | h2.PRIORITY, b"a"),
        (b"1234", h2.PRIORITY, None),
    ],
)
def test_padding_and_priority_are_stripped(payload: bytes, flags: int, content: bytes | None) -> None:
    """What is left is the content; too little is an error."""
    if content is None:
        with pytest.raises(h2.Http2Error):
            h2.strip_padding(memoryview(payload), flags)
    else:
        assert h2.strip_padding(memoryview(payload), flags) == content


def test_bodies_are_cut_by_the_largest_frame() -> None:
    """A body travels in frames no longer than the peer takes; the last one ends the call."""
    wire, _ = called((h2.INITIAL_WINDOW_SIZE, 100_000), message=bytes(40_000))
    frames = [(flags, len(content)) for kind, flags, _, content in wire.sent() if kind == h2.DATA]
    assert frames == [(0, 16_384), (0, 16_384), (h2.END_STREAM, 7_232)]


def test_settings_that_narrow_windows_hold_calls_up() -> None:
    """A window may become negative; nothing is sent until it is positive again."""
    wire, _ = called((h2.INITIAL_WINDOW_SIZE, 1000), message=bytes(2000))
    wire.sent()
    wire.feed(h2.frame(h2.SETTINGS, 0, 0, h2.SETTING.pack(h2.INITIAL_WINDOW_SIZE, 0)) + h2.window_update(1, 900))
    assert [kind for kind, *_ in wire.sent()] == [h2.SETTINGS]
    wire.feed(h2.window_update(1, 200))
    assert [(kind, len(content)) for kind, _, _, content in wire.sent()] == [(h2.DATA, 100)]


def test_early_end_stops_the_body() -> None:
    """A server that has seen enough ends the call: the rest of the body is not sent."""
    wire, call = called((h2.INITIAL_WINDOW_SIZE, 1000), message=bytes(2000))
    wire.sent()
    wire.feed(h2.frame(h2.HEADERS, ENDED, 1, TRAILERS) + h2.window_update(0, 9999))
    assert call.events == [("head", h2.ReplyHead(grpc_status=0), True)]
    assert [kind for kind, *_ in wire.sent()] == [h2.RST_STREAM]


def test_cancelled_calls_hear_no_more() -> None:
    """After a cancellation what still arrives is ignored, and the connection goes on."""
    wire, call = called()
    wire.cancel(call)
    assert wire.sent()[-1] == (h2.RST_STREAM, 0, 1, h2.CANCEL.to_bytes(4, "big"))
    wire.feed(h2.frame(h2.DATA, 0, 1, b"late") + h2.frame(h2.HEADERS, ENDED, 1, TRAILERS))
    assert call.events == []
    other = Call(wire)
    wire.call(other, b"again")
    wire.feed(h2.frame(h2.HEADERS, ENDED, 3, TRAILERS))
    assert other.events == [("head", h2.ReplyHead(grpc_status=0), True)]


def test_calls_made_while_reading_leave_together() -> None:
    """Several replies in one read cause one write; what it carries is timed when it leaves, not when it was made."""

    class Repeating(Call):
        def on_head(self, head: h2.ReplyHead, is_last: bool) -> None:
            self.made = time.monotonic()
            self.sent = 0.0
            wire.call(self, b"again")

    wire = Wire()
    calls = [Repeating(wire) for _ in range(3)]
    for call in calls:
        wire.call(call, b"ask")
    wire.sent()
    wire.writes.clear()
    wire.feed(b"".join(h2.frame(h2.HEADERS, ENDED, number, TRAILERS) for number in (1, 3, 5)))
    assert [number for kind, _, number, _ in wire.sent() if kind == h2.DATA] == [7, 9, 11]
    assert len(wire.writes) == 1
    assert len({call.sent for call in calls}) == 1
    assert calls[0].sent >= calls[2].made


def test_running_out_of_stream_numbers_ends_the_connection_in_order() -> None:
    """Before the 31 bits are used up, the users are told to go elsewhere; the last call still ends here."""
    wire = Wire()
    wire._next_number = http2_sending._LAST_NUMBER
    call = Call(wire)
    wire.call(call, b"last")
    assert (call.number, wire.is_draining, call.events) == (h2.LARGEST - 2, True, [("draining",)])
    wire.feed(h2.frame(h2.HEADERS, ENDED, call.number, TRAILERS))
    assert call.events[-1] == ("head", h2.ReplyHead(grpc_status=0), True)
    assert not wire.is_open


def test_leaving_server_names_what_it_did_not_take() -> None:
    """GOAWAY: calls up to the one it names go on, later ones may be made again."""
    wire, first = called()
    second = Call(wire)
    wire.call(second, b"ask")
    wire.feed(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", 1, 0)))
    assert (first.events, second.events) == ([("draining",)], [("draining",), ("unprocessed",)])
    assert wire.is_open
    wire.feed(h2.frame(h2.HEADERS, ENDED, 1, TRAILERS))
    assert not wire.is_open


def test_windows_of_ours_are_granted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received on a stream and on the connection is granted anew, in time."""
    monkeypatch.setattr(http2_connection, "GRANT_AFTER", 1000)
    monkeypatch.setattr(http2_sending, "GRANT_AFTER", 1000)
    wire, _ = called()
    wire.sent()
    for _ in range(2):
        wire.feed(b"".join(h2.frame(h2.DATA, 0, 1, bytes(400)) for _ in range(3)))
        assert [(kind, number, int.from_bytes(content, "big")) for kind, _, number, content in wire.sent()] == [
            (h2.WINDOW_UPDATE, 1, 1000),
            (h2.WINDOW_UPDATE, 0, 1200),
        ]


def test_the_table_is_used_only_where_the_headers_stay_in_it() -> None:
    """Small headers become one byte each from the second call on; those that fill the table always travel whole."""
    small = h2.encode_indexed([(":method", "POST"), ("authorization", "Bearer secret")])
    assert small
    assert len(small.further) == 2 < len(small.first)
    assert h2.encode_indexed([("authorization", "Bearer " + "x" * 5000)]) is None


@given(st.lists(st.tuples(st.binary(max_size=50), st.sampled_from([None, "gzip", "deflate"]))), st.data())
def test_messages_are_the_same_however_they_are_cut(
    messages: list[tuple[bytes, str | None]], data: st.DataObject
) -> None:
    """Messages come out of a stream as they went in, compressed or not, in any pieces."""
    reader, stream = MessageReader(), b"".join(frame_message(*message) for message in messages)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, 40))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == [content for content, _ in messages]


class Listener:
    """Notes what a stream says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def on_message(self, message: bytes, received_at: float) -> None:
        self.said.append((message, received_at > 0))

    def on_end(self, failure: Any) -> None:
        self.said.append(failure)

    def on_draining(self) -> None:
        self.said.append("draining")


def test_a_stream_carries_messages_both_ways() -> None:
    """Messages are sent on one stream, replies come with the time of their arrival, and then the end."""
    wire, listener = Wire(), Listener()
    stream = MessageStream(wire, listener)
    stream.send(frame_message(b"one"))
    stream.send(frame_message(b"two"), is_last=True)
    assert [(kind, flags, content) for kind, flags, _, content in wire.sent()][-2:] == [
        (h2.DATA, 0, frame_message(b"one")),
        (h2.DATA, h2.END_STREAM, frame_message(b"two")),
    ]
    both = frame_message(b"a") + frame_message(b"b")
    wire.feed(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, HEAD) + h2.frame(h2.DATA, 0, 1, both[:8]))
    wire.feed(h2.frame(h2.DATA, 0, 1, both[8:]) + h2.frame(h2.HEADERS, ENDED, 1, TRAILERS))
    assert listener.said == [(b"a", True), (b"b", True), None]
    assert wire.users == set()


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (h2.frame(h2.HEADERS, ENDED, 1, h2.encode_literal([("grpc-status", "14")]).first), ("grpc_unavailable", "")),
        (h2.frame(h2.DATA, h2.END_STREAM, 1), ("grpc_unknown", "the server ended the call without a status")),
        (h2.frame(h2.RST_STREAM, 0, 1, bytes(4)), ("grpc_internal", "the server reset the call (HTTP/2 error 0)")),
        (h2.frame(h2.DATA, 0, 1, b"\1\0\0\0\1x"), ("protocol", "a message cannot be decompressed")),
        (b"HTTP/1.1 400 Bad Request", ("protocol", "not HTTP/2 as it should be: a frame of 4,740,180 bytes")),
    ],
)
def test_a_stream_says_once_how_it_failed(data: bytes, failure: tuple[str, str]) -> None:
    """The end of a stream has the kind of its failure."""
    wire, listener = Wire(), Listener()
    MessageStream(wire, listener)
    wire.feed(data)
    (said,) = listener.said
    assert said[0] == failure[0]
    assert said[1].startswith(failure[1])
