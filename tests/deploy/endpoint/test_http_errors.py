"""What a server says of an error is shown in its own words, without what they are wrapped in."""

from __future__ import annotations

import pytest

from serve_deploy.endpoint.connection import http_error_text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"error":"no such model"}', "no such model"),
        (b'data: {"error":"too long"}\n\n', "too long"),
        (b'{"error":{"message":"too many requests","code":429}}', "too many requests"),
        (b'{"object":"error","message":"too long"}', "too long"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"loc":["body","n"],"msg":"extra"}]}', '[{"loc": ["body", "n"], "msg": "extra"}]'),
        (b"<html>gone</html>", "HTTP 400: <html>gone</html>"),
        (b"[]", "HTTP 400: []"),
        (b"{}", "HTTP 400: {}"),
        (b"", "HTTP 400: "),
    ],
)
def test_an_error_reply_says_why(content: bytes, text: str) -> None:
    """Of Triton, of OpenAI's protocol, of frameworks and proxies."""
    assert http_error_text(400, content) == text
