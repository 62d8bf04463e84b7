"""A server that gives every request the same answer, as the clouds give theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from web_server import served


@contextmanager
def answering(status: int, body: str = "", headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response_only(status)
            for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def s3_error(code: str, message: str = "", details: str = "") -> str:
    """An error as S3 writes it; real ones name the key that was used."""
    return (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message>{details}"
        "<AWSAccessKeyId>PLANTEDACCESSKEY0001</AWSAccessKeyId><RequestId>1</RequestId></Error>"
    )


def azure_error(code: str, message: str = "", detail: str = "") -> str:
    """An error as Azure writes it."""
    return (
        f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>{message}\nRequestId:1\n"
        f"Time:2026-11-26T00:00:00Z</Message><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
    )
