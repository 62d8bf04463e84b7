"""A tiny OCI registry on loopback: keeps what is pushed, as the distribution specification says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from web_server import served


class Registry(ThreadingHTTPServer):
    """Blobs by digest, and manifests by path with their media type."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}


@contextmanager
def running_registry() -> Iterator[Registry]:
    """Run it on a free port."""
    with served(Registry()) as registry:
        yield registry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v2/":
            self._answer(200, {})
            return
        blob = self.server.blobs.get(path.rpartition("/")[2])
        kind, data = self.server.manifests.get(path, ("application/octet-stream", blob))
        if data is None:
            self._answer(404, {})
        else:
            self._answer(200, {"Docker-Content-Digest": _digest(data), "Content-Type": kind}, data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._body()
        self._answer(202, {"Location": f"{urlsplit(self.path).path.rstrip('/')}/upload"})

    def do_PUT(self) -> None:
        url, body = urlsplit(self.path), self._body()
        if "/manifests/" in url.path:
            self.server.manifests[url.path] = (self.headers["Content-Type"], body)
        else:
            assert parse_qs(url.query)["digest"] == [_digest(body)]
            self.server.blobs[_digest(body)] = body
        self._answer(201, {"Location": url.path, "Docker-Content-Digest": _digest(body)})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
