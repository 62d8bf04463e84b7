"""The sending side of an HTTP/2 connection: calls are opened, bodies wait for the peer's windows. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.http2_frames import FRAME_HEAD, ReplyHead, RequestBlocks

Buffer = bytes | memoryview
GRANT_AFTER = 1 << 30
_MOST_COPIED = 1 << 15
# Before stream numbers run out; those in use go on.
_LAST_NUMBER = h2.LARGEST - 2
_NOTHING = memoryview(b"")


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


class SendingSide:
    """`users` are the streams that will make further calls here; how bytes travel is left to others.

    What is sent while frames are taken is gathered, and leaves at the end in one piece.
    """

    def __init__(self, indexed: RequestBlocks | None, literal: RequestBlocks) -> None:
        self.is_open = True
        self.is_draining = False
        # Whether calls are under way and the last frames were no reason to make another.
        self.is_waiting = False
        self.users: set[Stream] = set()
        self._streams: dict[int, Stream] = {}
        self._next_number = 1
        self._indexed, self._literal = indexed, literal
        self._window = self._stream_window = h2.DEFAULT_WINDOW
        self._frame_size = h2.DEFAULT_FRAME_SIZE
        self._waiting: list[Stream] = []
        self._gathered: list[bytes] = []
        self._starting: list[Stream] = []
        self._is_taking = False

    def _emit(self, data: bytes) -> None:
        """Send these bytes, now or as soon as possible."""
        raise NotImplementedError

    def _emit_parts(self, parts: Sequence[Buffer]) -> None:
        """The same for many or large pieces, without copying them together."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Close the connection's socket; whatever was to be sent is forgotten."""
        raise NotImplementedError

    def _use_blocks(self, block: bytes) -> None:
        self._block_bytes = block
        self._open_call = FRAME_HEAD.pack(len(block) >> 8, len(block) & 0xFF, h2.HEADERS, h2.END_HEADERS, 0)[:5]

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
        stream.received, stream.granted, stream.unsent = 0, GRANT_AFTER, _NOTHING
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

    def _drain(self) -> None:
        """Make no new calls here; those under way go on."""
        self.is_draining = True
        for user in list(self.users):
            user.on_draining()

    def _leave_if_drained(self) -> None:
        if self.is_draining and not self._streams and not self._is_taking:
            self.close()

    def close(self) -> None:
        """Say goodbye, and close."""
        if self.is_open:
            self._emit(h2.frame(h2.GOAWAY, 0, 0, bytes(8)))
            self.is_open = False
            self._drop()

    def _send(self, data: bytes) -> None:
        if self._is_taking:
            self._gathered.append(data)
        else:
            self._emit(data)

    def _send_waiting(self) -> None:
        for stream in list(self._waiting):
            if self._window <= 0:
                return
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

    def _send_gathered(self) -> None:
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
