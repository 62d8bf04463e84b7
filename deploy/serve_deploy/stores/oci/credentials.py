"""Credentials of a registry by docker's and podman's own chain: their files, and the helpers that these name."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.errors import UsageError

_HELPER_SECONDS = 60.0
# As which docker logs in to its hub.
_HUB_KEY = "https://index.docker.io/v1/"
_IDENTITY = "<token>"


@dataclass(frozen=True)
class Credentials:
    """A user and password, or the token that a login left instead of a password."""

    user: str
    password: str = field(repr=False)

    @property
    def identity_token(self) -> str | None:
        """The token to exchange for others, where the login left one."""
        return self.password if self.user == _IDENTITY else None


def find_credentials(
    registry: str, repository: str, environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """What the first file with an entry for the registry says; None where no one logged in.

    UsageError where such a file, or the helper that it names, cannot be read.
    """
    for path in _list_files(os.environ if environment is None else environment):
        try:
            login = json.loads(path.read_text(encoding="utf-8"))
            found = _look_up(login, registry, repository, path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"{path} cannot be read: it holds no logins as docker writes them", hint=f"docker login {registry}"
            ) from error
        if found:
            return found
    return None


def _list_files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or Path.home())
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    runtime = environment.get("XDG_RUNTIME_DIR")
    yield Path(runtime or f"/run/user/{os.getuid()}") / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _look_up(login: Mapping[str, Any], registry: str, repository: str, path: Path) -> Credentials | None:
    keys = list(_list_keys(registry, repository))
    helpers = login.get("credHelpers") or {}
    for key in keys:
        if helper := helpers.get(key):
            return _ask_helper(helper, key, path)
    if (store := login.get("credsStore")) and (found := _ask_first(store, keys, path)):
        return found
    auths = {_normalise(key): entry for key, entry in (login.get("auths") or {}).items()}
    return next((found for key in keys if (found := _read_entry(auths.get(_normalise(key)) or {}))), None)


def _list_keys(registry: str, repository: str) -> Iterator[str]:
    """The most special first: podman keeps logins by repository as well."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([registry, *parts[:count]])
    yield registry
    if registry in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        yield _HUB_KEY


def _normalise(key: str) -> str:
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return bare.removesuffix("/v1").removesuffix("/v2")


def _read_entry(entry: Mapping[str, Any]) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(_IDENTITY, token)
    if encoded := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(encoded).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("not base64") from error
        return Credentials(user, password)
    if entry.get("username") and entry.get("password"):
        return Credentials(entry["username"], entry["password"])
    return None


def _ask_first(helper: str, keys: list[str], path: Path) -> Credentials | None:
    # Stores keep logins by registry, and asking one may open a dialog.
    hosts = [key for key in keys if "/" not in key or key == _HUB_KEY]
    return next((found for key in reversed(hosts) if (found := _ask_helper(helper, key, path))), None)


def _ask_helper(helper: str, key: str, path: Path) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = "did not answer" if isinstance(error, subprocess.TimeoutExpired) else "cannot be started"
        raise UsageError(
            f"{program} {why}; {path} names it for the credentials of {key}", hint="install it, or log in without it"
        ) from error
    if answer.returncode != 0:
        # "credentials not found" is how helpers say that no one logged in.
        return None
    said = json.loads(answer.stdout)
    return Credentials(said["Username"], said["Secret"]) if said.get("Secret") else None
