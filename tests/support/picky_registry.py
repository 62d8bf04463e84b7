"""A registry with the ways that docker-registry does not have: limits, waits, its own list of referrers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from web_server import served


class PickyRegistry(ThreadingHTTPServer):
    """Keeps what is pushed, as the distribution specification says.

    It takes bodies of up to `most_bytes` and asks for pieces of `least_bytes`; it answers `busy` of the requests with
    429 first, and drops the connection of the first upload after `drop_after` bytes. With `keeps_tagged` it deletes no
    manifest that a tag names. `before` is told each request before it is answered; what it returns is refused.
    """

    def __init__(
        self,
        *,
        most_bytes: int = 1 << 30,
        least_bytes: int = 0,
        busy: int = 0,
        drop_after: int = 0,
        quota: bool = False,
        keeps_tagged: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.most_bytes, self.least_bytes, self.busy, self.drop_after = most_bytes, least_bytes, busy, drop_after
        self.quota, self.keeps_tagged = quota, keeps_tagged
        self.before: Callable[[str], bool] = lambda _request: False
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.bodies: list[tuple[str, int]] = []
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        return


@contextmanager
def running_picky_registry(**ways: int) -> Iterator[PickyRegistry]:
    """Run it on a free port."""
    with served(PickyRegistry(**ways)) as registry:  # type: ignore[arg-type]
        yield registry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body together: the body would wait 40 ms for the other side's word on the headers.
    wbufsize = 1 << 16
    server: PickyRegistry

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = path.rpartition("/")[2]
        if self.server.before(f"{self.command} {path}"):
            self._refuse(403, "DENIED", "it is dead")
        elif path == "/v2/":
            self._answer(200)
        elif path.endswith("/tags/list"):
            tags = sorted(name for name in self.server.manifests if ":" not in name)
            self._answer(200, body=json.dumps({"tags": tags}).encode())
        elif self._is_busy():
            self._answer(429, {"Retry-After": "0"})
        elif "/uploads/" in path:
            self._tell_upload(name, 204)
        elif "/referrers/" in path:
            self._list_referrers(name)
        elif "/manifests/" in path:
            kind, content = self.server.manifests.get(name, ("", None))
            self._give(kind, content)
        else:
            self._give("application/octet-stream", self.server.blobs.get(name))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        name, manifests = path.rpartition("/")[2], self.server.manifests
        if self.server.before(f"DELETE {path}"):
            self._refuse(403, "DENIED", "it is dead")
        elif name not in manifests:
            self._refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
        elif ":" not in name:
            del manifests[name]
            self._answer(202)
        elif (tags := [tag for tag in manifests if tag != name and manifests[tag] == manifests[name]]) and (
            self.server.keeps_tagged
        ):
            self._refuse(400, "GOOGLE_MANIFEST_DANGLING_TAG", f"Manifest is still referenced by tag: {tags[0]}")
        else:
            for each in (name, *tags):
                del manifests[each]
            self._answer(202)

    def do_POST(self) -> None:
        self._body()
        if self.server.quota:
            self._refuse(403, "DENIED", "adding 1 MiB will exceed the configured upper limit of 1 MiB: quota")
            return
        with self.server.lock:
            name = f"upload{len(self.server.uploads)}"
            self.server.uploads[name] = bytearray()
        least = {"OCI-Chunk-Min-Length": str(self.server.least_bytes)} if self.server.least_bytes else {}
        self._answer(202, {"Location": f"{urlsplit(self.path).path}{name}?state=a%2Bb", **least})

    def do_PATCH(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        kept, length = self.server.uploads[name], int(self.headers["Content-Length"])
        self.server.bodies.append((self.headers.get("Content-Range", ""), length))
        if length > self.server.most_bytes:
            self._body()
            self._refuse(416, "SIZE_INVALID", "the request body is too large")
            return
        if self.server.drop_after and length > self.server.drop_after:
            drop, self.server.drop_after = self.server.drop_after, 0
            kept += self.rfile.read(drop)
            self.close_connection = True
            self.connection.close()
            return
        start = int(self.headers.get("Content-Range", "0-0").partition("-")[0])
        body = self._body()
        if start != len(kept):
            self._refuse(416, "RANGE_INVALID", f"{len(kept)} bytes are here")
            return
        kept += body
        self._tell_upload(name, 202)

    def do_PUT(self) -> None:
        url, body = urlsplit(self.path), self._body()
        name = url.path.rpartition("/")[2]
        if self.server.before(f"PUT {url.path}"):
            self._refuse(403, "DENIED", "it is dead")
            return
        if "/manifests/" in url.path:
            kind, digest = self.headers["Content-Type"], _digest(body)
            self.server.manifests |= {name: (kind, body), digest: (kind, body)}
            subject = {"OCI-Subject": json.loads(body)["subject"]["digest"]} if b'"subject"' in body else {}
            self._answer(201, {"Docker-Content-Digest": digest, **subject})
            return
        content = bytes(self.server.uploads[name]) + body
        wanted = parse_qs(url.query)["digest"]
        if [_digest(content)] != wanted or parse_qs(url.query)["state"] != ["a+b"]:
            self._refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        self.server.blobs[wanted[0]] = content
        self._answer(201)

    def _tell_upload(self, name: str, status: int) -> None:
        kept = self.server.uploads[name]
        self._answer(status, {"Location": self.path, "Range": f"0-{max(len(kept) - 1, 0)}"})

    def _list_referrers(self, digest: str) -> None:
        documents = {name: (kind, body) for name, (kind, body) in self.server.manifests.items() if ":" in name}
        found = [
            {"mediaType": kind, "digest": name, "size": len(body), "artifactType": json.loads(body)["artifactType"]}
            for name, (kind, body) in documents.items()
            if json.loads(body).get("subject", {}).get("digest") == digest
        ]
        self._give("application/vnd.oci.image.index.v1+json", json.dumps({"manifests": found}).encode())

    def _is_busy(self) -> bool:
        with self.server.lock:
            self.server.busy -= 1
            return self.server.busy >= 0

    def _give(self, kind: str, content: bytes | None) -> None:
        if content is None:
            self._refuse(404, "UNKNOWN", "unknown")
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Type": kind, "Docker-Content-Digest": _digest(content)}
        self._answer(206 if start else 200, headers, content[start:])

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, body=json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
