"""Where a registry's credentials are found."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.stores.oci.credentials import Credentials, find_credentials

SECRET = "planted-secret"


def encode(user: str, password: str = SECRET) -> str:
    """A login as docker keeps it."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def find(home: Path, registry: str, repository: str = "team/models", **environment: str) -> Credentials | None:
    """Look for credentials in a home folder."""
    return find_credentials(
        registry, repository, {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **environment}
    )


def write(path: Path, **login: Any) -> None:
    """Write a file of logins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(login))


def test_no_login_is_no_error(tmp_path: Path) -> None:
    """Many registries let anyone read."""
    assert find(tmp_path, "registry.example") is None


@pytest.mark.parametrize("key", ["registry.example", "https://registry.example", "https://registry.example/v2/"])
def test_a_login_of_docker_is_found(key: str, tmp_path: Path) -> None:
    """However docker has written the registry's name."""
    write(
        tmp_path / ".docker" / "config.json",
        auths={"other.example": {"auth": encode("x")}, key: {"auth": encode("me")}},
    )
    assert find(tmp_path, "registry.example") == Credentials("me", SECRET)


def test_a_password_may_contain_colons(tmp_path: Path) -> None:
    """Only the first ends the user's name."""
    write(tmp_path / ".docker" / "config.json", auths={"registry.example": {"auth": encode("me", "a:b")}})
    assert find(tmp_path, "registry.example") == Credentials("me", "a:b")


def test_the_hub_is_known_by_its_old_name(tmp_path: Path) -> None:
    """As docker login writes it."""
    write(tmp_path / ".docker" / "config.json", auths={"https://index.docker.io/v1/": {"auth": encode("me")}})
    assert find(tmp_path, "docker.io") == Credentials("me", SECRET)


def test_an_identity_token_stands_for_a_password(tmp_path: Path) -> None:
    """As logins at Azure leave it."""
    write(
        tmp_path / ".docker" / "config.json", auths={"registry.example": {"auth": encode("0"), "identitytoken": SECRET}}
    )
    found = find(tmp_path, "registry.example")
    assert found is not None
    assert found.identity_token == SECRET


def test_podmans_login_for_a_repository_comes_first(tmp_path: Path) -> None:
    """The most special of them."""
    write(
        tmp_path / "run" / "containers" / "auth.json",
        auths={"registry.example": {"auth": encode("all")}, "registry.example/team": {"auth": encode("team")}},
    )
    assert find(tmp_path, "registry.example") == Credentials("team", SECRET)
    assert find(tmp_path, "registry.example", "other/models") == Credentials("all", SECRET)


def test_variables_name_other_files(tmp_path: Path) -> None:
    """DOCKER_CONFIG a folder, REGISTRY_AUTH_FILE a file."""
    write(tmp_path / ".docker" / "config.json", auths={"registry.example": {"auth": encode("home")}})
    write(tmp_path / "other" / "config.json", auths={"registry.example": {"auth": encode("docker")}})
    write(tmp_path / "auth.json", auths={"registry.example": {"auth": encode("podman")}})
    docker = {"DOCKER_CONFIG": str(tmp_path / "other")}
    podman = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    assert find(tmp_path, "registry.example", **docker) == Credentials("docker", SECRET)
    assert find(tmp_path, "registry.example", **docker, **podman) == Credentials("podman", SECRET)


HELPER = """#!/bin/sh
read -r host
echo "$1 $host" >> "$0.log"
[ "$host" = registry.example ] || { echo "credentials not found in native keychain"; exit 1; }
echo '{"ServerURL": "registry.example", "Username": "helped", "Secret": "planted-secret"}'
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper on the PATH."""
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {"registry.example": "test"}}])
def test_a_helper_is_asked(config: dict[str, Any], helper: Path, tmp_path: Path) -> None:
    """For this registry and no other."""
    write(tmp_path / ".docker" / "config.json", **config)
    assert find(tmp_path, "registry.example") == Credentials("helped", SECRET)
    assert helper.with_name("docker-credential-test.log").read_text() == "get registry.example\n"


def test_what_a_helper_does_not_have_is_looked_for_elsewhere(helper: Path, tmp_path: Path) -> None:
    """In the next file of the chain."""
    write(tmp_path / ".docker" / "config.json", credsStore="test")
    write(tmp_path / "run" / "containers" / "auth.json", auths={"other.example": {"auth": encode("podman")}})
    assert find(tmp_path, "other.example") == Credentials("podman", SECRET)


def test_a_helper_that_is_missing_is_said(tmp_path: Path) -> None:
    """It is what someone set up, and not found."""
    write(tmp_path / ".docker" / "config.json", credsStore="gone")
    with pytest.raises(UsageError, match="docker-credential-gone cannot be started"):
        find(tmp_path, "registry.example")


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": {"registry.example": {"auth": "§"}}}', '{"auths": [1]}'])
def test_a_damaged_file_is_said_and_not_shown(content: str, tmp_path: Path) -> None:
    """What is in it may be a secret."""
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UsageError) as refused:
        find(tmp_path, "registry.example")
    assert refused.value.message == f"{path} cannot be read: it holds no logins as docker writes them"


def test_credentials_do_not_print_their_secret() -> None:
    """Neither in a traceback nor in a log."""
    assert SECRET not in repr(Credentials("me", SECRET))
