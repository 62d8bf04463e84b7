"""Where the text is in the gRPC responses of one answer, which differ in nothing else. Pure."""

from __future__ import annotations

import sys

_INFER_RESPONSE, _RAW_CONTENT = 0x12, 0x32  # the tags of ModelStreamInferResponse and ModelInferResponse
_VARINT = 0x80
_LENGTH_BYTES = 4


class ResponseShape:
    """Learns what stands before and after the text; a response that has the same there needs no parsing.

    `tokens` is how many the server counts in each such response, 0 where it does not.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._least = sys.maxsize
        self._before = self._after = b""
        self._stop: int | None = None

    def read(self, message: bytes) -> bytes | None:
        """The text of a response that is like the learned one, None of any other."""
        length = len(message)
        if length < self._least or message[0] != _INFER_RESPONSE:
            return None
        start = 2 if message[1] < _VARINT else 3
        if not message.startswith(self._before, start) or not message.endswith(self._after):
            return None
        said = message[1] if start == 2 else message[1] - _VARINT + (message[2] << 7)
        at = start + len(self._before)
        content, size = message[at + 1 : self._stop], message[at]
        whole = size < _VARINT and len(content) == size and said == length - start
        if not whole or int.from_bytes(content[:_LENGTH_BYTES], "little") != size - _LENGTH_BYTES:
            return None
        return content[_LENGTH_BYTES:]

    def learn(self, message: bytes, content: bytes, tokens: int) -> None:
        """Take a response as the example whose text is the whole of this content, one string of a BYTES tensor."""
        encoded = bytes([_RAW_CONTENT, len(content) & 0x7F]) + content
        start = 2 if message[1] < _VARINT else 3
        if len(content) >= _VARINT or message.count(encoded) != 1 or message[0] != _INFER_RESPONSE:
            return
        at = message.index(encoded)
        self._before, self._after = message[start : at + 1], message[at + len(encoded) :]
        self._stop = -len(self._after) or None
        self._least = 3 + len(self._before) + 1 + _LENGTH_BYTES + len(self._after)
        self.tokens = tokens
