"""The client's side of an HTTP/2 connection: what arrives, and what follows from it. No I/O here."""

from __future__ import annotations

from time import monotonic

from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.http2_frames import FRAME_HEAD, Http2Error, RequestBlocks, decode_head
from serve_deploy.loadtest.clients.http2_sending import GRANT_AFTER, SendingSide, Stream

_LARGEST_BLOCK = 1 << 18
_ACKNOWLEDGE = h2.frame(h2.SETTINGS, h2.ACK, 0)


class Http2Connection(SendingSide):
    """Give it what was read (`take`), and it tells its streams."""

    def __init__(self, indexed: RequestBlocks | None, literal: RequestBlocks) -> None:
        super().__init__(indexed, literal)
        self.is_ready = False
        self.most_streams = h2.LARGEST
        self.received_at = 0.0
        self._block: bytearray | None = None
        self._block_end = (0, 0)
        self._ungranted = 0
        self._farewell = ""

    def _become_ready(self) -> None:
        """Called with the peer's first settings: calls may be made from now on."""
        blocks = self._indexed or self._literal
        self._use_blocks(blocks.first)
        self.is_ready = True

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
            self._grant_anew()
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
            stream.granted += GRANT_AFTER
            self._send(h2.window_update(stream.number, GRANT_AFTER))
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

    def _grant_anew(self) -> None:
        if self._ungranted >= GRANT_AFTER:
            self._gathered.append(h2.window_update(0, self._ungranted))
            self._ungranted = 0

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
