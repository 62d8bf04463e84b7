"""Being logged in to a registry: what it asks for, from the credentials that docker or podman keep."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from serve_deploy.errors import EndpointError
from serve_deploy.stores.oci.credentials import Credentials, find_credentials
from serve_deploy.stores.oci.reference import ImageReference

if TYPE_CHECKING:
    from requests import Response

_CLIENT = "triton-serve"
# What registries call them in the scope of a token.
READ, WRITE, REMOVE = "pull", "pull,push", "pull,push,delete"


class Login:
    """The Authorization header for a repository; it is renewed when the registry asks, by several threads once."""

    def __init__(self, reference: ImageReference, registry: Any, environment: Mapping[str, str], rights: str) -> None:
        self._reference = reference
        self._rights = rights
        self._registry = registry
        self._environment = environment
        self._lock = threading.Lock()
        self._header: str | None = None
        self._credentials: Credentials | None = None
        self._has_looked = False

    def headers(self) -> dict[str, str]:
        """What to send with a request."""
        return {"Authorization": self._header} if self._header else {}

    def renew(self, refused: Response) -> bool:
        """Log in as an answer of 401 asks; whether another try is worth it."""
        with self._lock:
            used = refused.request.headers.get("Authorization")
            if self._header and used != self._header:
                return True
            refused.close()
            self._header = self._answer(refused.headers.get("Www-Authenticate", ""))
            return self._header is not None and self._header != used

    def _answer(self, challenge: str) -> str | None:
        credentials = self._look_up()
        kind = challenge.partition(" ")[0].lower()
        if kind == "basic" and credentials:
            return f"Basic {_encode(credentials)}"
        if kind != "bearer":
            return None
        token = self._fetch_token(challenge, credentials)
        return f"Bearer {token}" if token else None

    def _look_up(self) -> Credentials | None:
        if not self._has_looked:
            self._credentials = find_credentials(
                self._reference.registry, self._reference.repository, self._environment
            )
            self._has_looked = True
        return self._credentials

    def _fetch_token(self, challenge: str, credentials: Credentials | None) -> str | None:
        from oras.auth.utils import parse_auth_header

        asked = parse_auth_header(challenge)
        realm = urlsplit(asked.realm or "")
        if realm.scheme != "https" and not (realm.scheme == "http" and self._registry.prefix == "http"):
            raise EndpointError(
                f"{self._reference.registry} sends logins to {realm.scheme}://{realm.netloc}, which is not encrypted",
                hint="tell who runs the registry",
            )
        if self._rights != READ:
            # Registries that answer a reader's token with 403 would never ask for more.
            asked.scope = f"repository:{self._reference.api_repository}:{self._rights}"
        if credentials and credentials.identity_token:
            return self._exchange(asked, credentials.identity_token)
        if credentials:
            self._registry.auth.set_basic_auth(credentials.user, credentials.password)
        token: str | None = self._registry.auth.request_token(asked)
        return token

    def _exchange(self, asked: Any, identity_token: str) -> str | None:
        """The OAuth 2 exchange that oras does not know."""
        form = {"grant_type": "refresh_token", "refresh_token": identity_token, "client_id": _CLIENT}
        form |= {"service": asked.service or "", "scope": asked.scope or ""}
        answer = self._registry.session.post(asked.realm, data=form)
        if answer.status_code != 200:
            return None
        said = answer.json()
        token: str | None = said.get("access_token") or said.get("token")
        return token


def _encode(credentials: Credentials) -> str:
    return base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
