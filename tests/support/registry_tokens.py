"""A token service as registries send their clients to: it signs what docker-registry accepts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from web_server import served

SERVICE, ISSUER = "registry", "tokens"


class TokenService(ThreadingHTTPServer):
    """Gives tokens to one user, or for one identity token; each is good for `requests_each` seconds at least."""

    def __init__(self, certificate: Path, key: Path, *, login: str, identity: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.realm = f"http://127.0.0.1:{self.server_port}/token"
        self.certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
        self.key = key.read_text()
        self.login, self.identity = login, identity
        self.scopes: list[str] = []

    def settings(self, certificate: Path) -> dict[str, Any]:
        """The registry's configuration for it."""
        token = {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(certificate)}
        return {"auth": {"token": token}}

    def sign(self, scope: str) -> str:
        """A token for a scope such as repository:team/models:pull,push."""
        self.scopes.append(scope)
        kind, name, actions = scope.split(":")
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": "tester", "aud": SERVICE, "exp": now + 60, "nbf": now - 5, "iat": now, "jti": "1",
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }  # fmt: skip
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return jwt.encode(claims, self.key, "ES256", headers={"x5c": [base64.b64encode(der).decode()]})


@contextmanager
def running_token_service(certificate: Path, key: Path, *, login: str, identity: str = "") -> Iterator[TokenService]:
    """Run it on a free port."""
    with served(TokenService(certificate, key, login=login, identity=identity)) as service:
        yield service


class _Handler(BaseHTTPRequestHandler):
    server: TokenService

    def do_GET(self) -> None:
        wanted = base64.b64encode(self.server.login.encode()).decode()
        scope = parse_qs(urlsplit(self.path).query)["scope"][0]
        self._answer(self.headers.get("Authorization") == f"Basic {wanted}", scope)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        is_known = form["grant_type"] == ["refresh_token"] and form["refresh_token"] == [self.server.identity]
        self._answer(is_known, form["scope"][0])

    def _answer(self, is_known: bool, scope: str) -> None:
        body = json.dumps({"access_token": self.server.sign(scope)} if is_known else {}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return
