"""A tiny HTTP server in place of a Kubernetes API: answers recorded objects, logs, refusals. On loopback, free port."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from web_server import served

Routes = dict[str, Any]


@contextmanager
def running_api(routes: Routes) -> Iterator[str]:
    """Serve `routes`: a path gives objects, whole or in pages, text (a log), or a status and a message."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            path = url.path + ("?previous" if query.get("previous") == ["true"] else "")
            route = routes.get(path, (404, "the server could not find the requested resource"))
            status, body = route.answer(query) if isinstance(route, Pages) else _answer(route)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def _answer(route: Any) -> tuple[int, bytes]:
    if isinstance(route, tuple):
        status, message = route
        return status, json.dumps({"kind": "Status", "message": message, "code": status}).encode()
    if isinstance(route, str):
        return 200, route.encode()
    return 200, json.dumps({"items": route}).encode()


@dataclass
class Pages:
    """Objects that are listed page by page; `largest` is how many one answer held.

    With `forgets` a token expires at once, and the refusal has another one, as where etcd was compacted meanwhile.
    """

    items: Sequence[Any]
    forgets: bool = False
    largest: int = 0

    def answer(self, query: Mapping[str, list[str]]) -> tuple[int, bytes]:
        kind, _, start = query.get("continue", ["new-0"])[0].partition("-")
        if kind == "old":
            gone = {"kind": "Status", "reason": "Expired", "code": 410, "message": "the token is too old"}
            return 410, json.dumps({**gone, "metadata": {"continue": f"new-{start}"}}).encode()
        end = int(start) + int(query.get("limit", [str(len(self.items))])[0])
        page = self.items[int(start) : end]
        self.largest = max(self.largest, len(page))
        token = f"{'old' if self.forgets else 'new'}-{end}" if end < len(self.items) else ""
        return 200, json.dumps({"metadata": {"continue": token}, "items": page}).encode()


def write_kubeconfig(folder: Path, url: str) -> Path:
    """A configuration whose current context is that server."""
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": url}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
                "users": [{"name": "me", "user": {"token": "secret"}}],
            }
        )
    )  # fmt: skip
    return path
