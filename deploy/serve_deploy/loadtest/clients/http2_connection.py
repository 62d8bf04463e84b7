"""The client's side of an HTTP/2 connection: frames in and out, streams, and the windows of both sides. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.http2_frames import FRAME_HEAD, Http2Error, ReplyHead, RequestBlocks, decode_head

Buffer = bytes | memoryview
_MOST_COPIED = 1 << 15
_LARGEST_BLOCK = 1 << 18
_GRANT_AFTER = 1 << 30
# Before stream numbers run out; those in use go on.
_LAST_NUMBER = h2.LARGEST - 2
_NOTHING = memoryview(b"")
_ACKNOWLEDGE = h2.frame(h2.SETTINGS, h2.ACK, 0)


class Stream:
    """One call on a connection, which tells it what arrives."""

    number = 0
    sent = 0.0
    window = 0
    received = 0
    granted = 0
    unsent = _NOTHING
    is_complete = True

    def on_head(self, head: ReplyHead, is_last: bool) -> None:
        """Headers, or, when last, the trailers that end the call."""
        raise NotImplementedError

    def on_data(self, data: memoryview, is_last: bool) -> None:
        """Some bytes of the reply; they are gone when this returns."""
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        """The peer ended the call."""
        raise NotImplementedError

    def on_unprocessed(self) -> None:
        """The peer is leaving, and has not looked at this call: it may be made again elsewhere."""
        raise NotImplementedError

    def on_draining(self) -> None:
        """The connection takes no more calls; one that is under way goes on."""
        raise NotImplementedError

    def on_lost(self, kind: str, text: str) -> None:
        """The connection is gone, and a call that was under way with it; `text` may be empty."""
        raise NotImplementedError


class Http2Connection:
    """What does not depend on how bytes travel. `users` are the streams that will make further calls here."""

    def __init__(self, indexed: RequestBlocks | None, literal: RequestBlocks) -> None:
        self.is_open = True
        self.is_ready = False
        self.is_draining = False
        self.most_streams = h2.LARGEST
        self.received_at = 0.0
        self.users: set[Stream] = set()
        self._streams: dict[int, Stream] = {}
        self._next_number = 1
        self._indexed, self._literal = indexed, literal
        self._window = self._stream_window = h2.DEFAULT_WINDOW
        self._frame_size = h2.DEFAULT_FRAME_SIZE
        self._waiting: list[Stream] = []
        self._gathered: list[Buffer] = []
        self._starting: list[Stream] = []
        self._is_taking = False
        self.is_waiting = False
        self._block: bytearray | None = None
        self._block_end = (0, 0)
        self._ungranted = 0
        self._farewell = ""

    def _emit(self, data: bytes) -> None:
        """Send these bytes, now or as soon as possible."""
        raise NotImplementedError

    def _emit_parts(self, parts: Sequence[Buffer]) -> None:
        """The same for many or large pieces, without copying them together."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Close the connection's socket; whatever was to be sent is forgotten."""
        raise NotImplementedError

    def _become_ready(self) -> None:
        """Called with the peer's first settings: calls may be made from now on."""
        blocks = self._indexed or self._literal
        self._use_blocks(blocks.first)
        self.is_ready = True

    def _use_blocks(self, block: bytes) -> None:
        self._block_bytes = block
        self._open_call = FRAME_HEAD.pack(len(block) >> 8, len(block) & 0xFF, h2.HEADERS, h2.END_HEADERS, 0)[:5]

    # Calls

    def call(self, stream: Stream, message: bytes) -> None:
        """Open a stream for one request, and end our side of it."""
        size = len(message)
        if size > _MOST_COPIED or size > self._frame_size or size > self._window or size > self._stream_window:
            self.open(stream)
            self.write(stream, message, is_last=True)
            return
        number = self._register(stream)
        self._window -= size
        self._send(
            b"".join(
                (
                    self._open_call, number.to_bytes(4, "big"), self._block_bytes,
                    FRAME_HEAD.pack(size >> 8, size & 0xFF, h2.DATA, h2.END_STREAM, number), message,
                )
            )
        )  # fmt: skip
        if number == 1:
            self._use_further_blocks()

    def open(self, stream: Stream) -> None:
        """Open a stream that messages will be written to."""
        number = self._register(stream)
        stream.window, stream.is_complete = self._stream_window, False
        self._send(self._open_call + number.to_bytes(4, "big") + self._block_bytes)
        if number == 1:
            self._use_further_blocks()

    def _use_further_blocks(self) -> None:
        self._use_blocks((self._indexed or self._literal).further)

    def _register(self, stream: Stream) -> int:
        number = stream.number = self._next_number
        self._next_number = number + 2
        stream.received, stream.granted, stream.unsent = 0, _GRANT_AFTER, _NOTHING
        self._streams[number] = stream
        if self._is_taking:
            self._starting.append(stream)
        if number >= _LAST_NUMBER:
            self._drain()
        return number

    def write(self, stream: Stream, message: bytes, *, is_last: bool) -> None:
        """Send a message on an open stream, as fast as the peer's windows allow."""
        if stream.unsent:
            stream.unsent = memoryview(bytes(stream.unsent) + message)
        else:
            stream.unsent = memoryview(message)
            self._waiting.append(stream)
        stream.is_complete = is_last
        if not self._is_taking:
            self._send_waiting()

    def cancel(self, stream: Stream) -> None:
        """Give a call up; what still arrives of it is ignored."""
        if self._streams.pop(stream.number, None):
            self._forget_unsent(stream)
            self._send(h2.frame(h2.RST_STREAM, 0, stream.number, h2.CANCEL.to_bytes(4, "big")))
            self._leave_if_drained()

    def _forget_unsent(self, stream: Stream) -> None:
        if stream.unsent:
            stream.unsent = _NOTHING
            self._waiting.remove(stream)

    def close(self) -> None:
        """Say goodbye, and close."""
        if self.is_open:
            self._emit(h2.frame(h2.GOAWAY, 0, 0, bytes(8)))
            self.is_open = False
            self._drop()

    # Sending

    def _send(self, data: bytes) -> None:
        if self._is_taking:
            self._gathered.append(data)
        else:
            self._emit(data)

    def _send_waiting(self) -> None:
        for stream in list(self._waiting):
            allowed = min(len(stream.unsent), stream.window, self._window)
            if allowed > 0:
                self._send_part(stream, allowed)
            if not stream.unsent:
                self._waiting.remove(stream)

    def _send_part(self, stream: Stream, allowed: int) -> None:
        unsent, number, parts = stream.unsent, stream.number, list[Buffer]()
        stream.window -= allowed
        self._window -= allowed
        for start in range(0, allowed, self._frame_size):
            piece = unsent[start : min(start + self._frame_size, allowed)]
            size, end = len(piece), start + len(piece)
            flags = h2.END_STREAM if stream.is_complete and end == len(unsent) else 0
            parts += (FRAME_HEAD.pack(size >> 8, size & 0xFF, h2.DATA, flags, number), piece)
        stream.unsent = unsent[allowed:]
        self._emit_parts(parts)

    # Receiving

    def take(self, data: memoryview) -> int:
        """Act on the whole frames in `data`; returns how many bytes they are. What they cause is sent at the end."""
        self.received_at = monotonic()
        self._is_taking = True
        try:
            used = self._take_frames(data)
        except Http2Error as error:
            self._is_taking = False
            self.lose("protocol", f"not HTTP/2 as it should be: {error}")
            return len(data)
        self._is_taking = False
        if self.is_open:
            self._send_gathered()
            self._leave_if_drained()
        return used

    def _take_frames(self, data: memoryview) -> int:
        position, end = 0, len(data)
        streams, unpack = self._streams, FRAME_HEAD.unpack_from
        while position + 9 <= end and self.is_open:
            high, low, kind, flags, number = unpack(data, position)
            size = high << 8 | low
            stop = position + 9 + size
            if size > h2.DEFAULT_FRAME_SIZE:
                raise Http2Error(f"a frame of {size:,} bytes")
            if stop > end:
                break
            payload = data[position + 9 : stop]
            position = stop
            if self._block is not None and kind != h2.CONTINUATION:
                raise Http2Error("a header block without its end")
            if kind == h2.DATA:
                self._ungranted += size
                stream = streams.get(number)
                if stream:
                    self._take_data(stream, payload, flags)
            elif kind == h2.HEADERS and flags & h2.END_HEADERS:
                if flags & (h2.PADDED | h2.PRIORITY):
                    payload = h2.strip_padding(payload, flags)
                self._take_head(number, flags, bytes(payload))
            else:
                self._take_control(kind, flags, number, payload)
        return position

    def _take_data(self, stream: Stream, payload: memoryview, flags: int) -> None:
        stream.received += len(payload)
        if flags & h2.PADDED:
            payload = h2.strip_padding(payload, flags & h2.PADDED)
        if flags & h2.END_STREAM:
            self._end(stream)
        elif stream.received >= stream.granted:
            stream.granted += _GRANT_AFTER
            self._send(h2.window_update(stream.number, _GRANT_AFTER))
        stream.on_data(payload, bool(flags & h2.END_STREAM))

    def _take_head(self, number: int, flags: int, block: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        head = decode_head(block)
        if flags & h2.END_STREAM:
            self._end(stream)
            stream.on_head(head, True)
        else:
            stream.on_head(head, False)

    def _end(self, stream: Stream) -> None:
        """The peer's side of the stream has ended."""
        del self._streams[stream.number]
        if stream.unsent or not stream.is_complete:
            # It has seen enough of the request.
            self._forget_unsent(stream)
            self._send(h2.frame(h2.RST_STREAM, 0, stream.number, h2.CANCEL.to_bytes(4, "big")))

    def _take_control(self, kind: int, flags: int, number: int, payload: memoryview) -> None:
        match kind:
            case h2.WINDOW_UPDATE:
                self._widen(number, _integer(payload, 0) & h2.LARGEST)
            case h2.SETTINGS if not flags & h2.ACK:
                self._take_settings(payload)
            case h2.PING if not flags & h2.ACK:
                if len(payload) != 8:
                    raise Http2Error("a PING of the wrong size")
                self._send(h2.frame(h2.PING, h2.ACK, 0, bytes(payload)))
            case h2.HEADERS:
                self._block = bytearray(h2.strip_padding(payload, flags))
                self._block_end = (number, flags)
            case h2.CONTINUATION:
                self._continue_block(number, flags, payload)
            case h2.RST_STREAM:
                code, stream = _integer(payload, 0), self._streams.pop(number, None)
                if stream:
                    self._forget_unsent(stream)
                    stream.on_reset(code)
            case h2.GOAWAY:
                self._take_goaway(payload)

    def _continue_block(self, number: int, flags: int, payload: memoryview) -> None:
        if self._block is None or number != self._block_end[0]:
            raise Http2Error("a CONTINUATION of nothing")
        self._block += payload
        if len(self._block) > _LARGEST_BLOCK:
            raise Http2Error(f"headers of more than {_LARGEST_BLOCK:,} bytes")
        if flags & h2.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._take_head(number, self._block_end[1], block)

    def _widen(self, number: int, increment: int) -> None:
        if number == 0:
            self._window += increment
        elif stream := self._streams.get(number):
            stream.window += increment

    def _take_settings(self, payload: memoryview) -> None:
        if len(payload) % 6:
            raise Http2Error("settings of the wrong size")
        for name, value in h2.SETTING.iter_unpack(payload):
            match name:
                case h2.INITIAL_WINDOW_SIZE:
                    for stream in self._streams.values():
                        stream.window += value - self._stream_window
                    self._stream_window = value
                case h2.MAX_FRAME_SIZE:
                    self._frame_size = max(value, h2.DEFAULT_FRAME_SIZE)
                case h2.MAX_CONCURRENT_STREAMS:
                    self.most_streams = value
                case h2.HEADER_TABLE_SIZE if value < h2.DEFAULT_TABLE_SIZE and self._indexed:
                    self._indexed = None
                    if self.is_ready:
                        # The blocks in use point into the table.
                        self._drain()
        self._send(_ACKNOWLEDGE)
        if not self.is_ready:
            self._become_ready()

    def _take_goaway(self, payload: memoryview) -> None:
        last, code = _integer(payload, 0) & h2.LARGEST, _integer(payload, 4)
        if code != h2.NO_ERROR:
            self._farewell = bytes(payload[8:]).decode(errors="replace") or f"HTTP/2 error {code}"
        self._drain()
        for number in [number for number in self._streams if number > last]:
            stream = self._streams.pop(number)
            self._forget_unsent(stream)
            stream.on_unprocessed()

    def _drain(self) -> None:
        """Make no new calls here; those under way go on."""
        self.is_draining = True
        for user in list(self.users):
            user.on_draining()

    def _leave_if_drained(self) -> None:
        if self.is_draining and not self._streams and not self._is_taking:
            self.close()

    def _send_gathered(self) -> None:
        if self._ungranted >= _GRANT_AFTER:
            self._gathered.append(h2.window_update(0, self._ungranted))
            self._ungranted = 0
        self.is_waiting = bool(self._streams and not self._starting)
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            # They leave now, not when the reply before them was read.
            now = monotonic()
            for stream in self._starting:
                stream.sent = now
            self._starting.clear()
            self._emit(data)
        if self._waiting:
            self._send_waiting()

    def lose(self, kind: str, text: str) -> None:
        """The connection is gone: every call on it has failed, and its users need another."""
        if not self.is_open:
            return
        self.is_open = False
        self._drop()
        self._streams.clear()
        self._waiting.clear()
        if self._farewell:
            text = f"the server ended the connection: {self._farewell}"
        for user in list(self.users):
            user.on_lost(kind, text)


def _integer(payload: memoryview, start: int) -> int:
    if len(payload) < start + 4:
        raise Http2Error("a frame that is too short")
    return int.from_bytes(payload[start : start + 4], "big")
