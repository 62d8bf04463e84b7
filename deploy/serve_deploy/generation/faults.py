"""The kinds of broken stream, by the names that the report has for them. Pure."""

from __future__ import annotations

import json
from typing import Any

# A kind of failure, and its text.
Fault = tuple[str, str]

CUT = "stream_cut"
NO_END = "stream_no_end"
ERROR = "stream_error"
REPEATED = "stream_repeated"
EMPTY = "stream_empty"
MALFORMED = "stream_malformed"
ENCODING = "stream_encoding"
TRUNCATED = "stream_truncated"
STALLED = "stream_stalled"
WRONG_REQUEST = "stream_wrong_request"


def show(content: bytes) -> str:
    """The start of something received, for a message."""
    return content[:120].decode(errors="replace").strip()


def error_text(error: Any) -> str:
    """What an `error` of Triton's or OpenAI's says."""
    said = error.get("message") or error if isinstance(error, dict) else error
    return said if isinstance(said, str) else json.dumps(said)
