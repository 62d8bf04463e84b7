"""A server that answers the calls of the Hugging Face Hub's own client: what a model has, and its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from web_server import served

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LFS_FROM = 64


@dataclass
class Hub:
    """Models by name, each with its files; `sent` is what arrives in place of a file, `asked` the paths of requests.

    A model called …/gated is kept for some, and one that is not there is not said to be.
    """

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    endpoint: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, answering at its `endpoint`."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield hub


def describe_file(path: str, content: bytes) -> dict[str, object]:
    """What the hub lists of a file: large ones are kept by LFS under their sha256, small ones in git."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    listed: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob}
    if len(content) >= _LFS_FROM:
        listed["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return listed


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(path)
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = listed or file
        name = found[1] if found else ""
        revision = (found[2] if found else None) or "main"
        commit = self.hub.revisions.get(revision, revision if revision in self.hub.revisions.values() else "")
        code = self._refuse(name, commit)
        if code:
            self._send(403 if code == "GatedRepo" else 404, b"", code, commit, body=body)
        elif listed:
            model = self.hub.models[name]
            files = [describe_file(each, content) for each, content in model.items()]
            answer = {"id": name, "sha": commit, "siblings": files, "tags": [], "private": False}
            self._send(200, json.dumps(answer).encode(), "", commit, body=body)
        else:
            content = self.hub.models[name].get(file[3] if file else "")
            sent = self.hub.sent.get(file[3] if file else "", content)
            code = "" if content is not None else "EntryNotFound"
            self._send(200 if not code else 404, sent or b"", code, commit, body=body, listed=content)

    def _refuse(self, name: str, commit: str) -> str:
        if name.endswith("/gated"):
            return "GatedRepo"
        if name not in self.hub.models:
            return "RepoNotFound"
        return "" if commit else "RevisionNotFound"

    def _send(
        self, status: int, content: bytes, code: str, commit: str, *, body: bool, listed: bytes | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(listed or content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""
