"""Registries that want a login, speak TLS, take no pushes, or are no registries."""

from __future__ import annotations

import base64
import json
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_registry import DockerRegistry, running_docker_registry
from fault_servers import make_certificates
from registry_tokens import TokenService, running_token_service
from repositories import add_model

from serve_deploy.errors import DestinationError, EndpointError, ServeError, UsageError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.oci import read_image
from serve_deploy.stores.options import PullOptions, PushOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.push.push import push_repository

PASSWORD = "planted-password"
HTPASSWD = "tester:$2b$04$Vjj0Wm4674g1IKjavuKiVOHoKKkmsQyr3Iu5H9qijgbtTHoTOVQ7m\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An authority, and a certificate and key for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that wants a user and a password."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "htpasswd").write_text(HTPASSWD)
    with running_docker_registry(
        folder, auth={"htpasswd": {"realm": "models", "path": str(folder / "htpasswd")}}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(certificates: tuple[Path, Path, Path]) -> Iterator[TokenService]:
    """A service of tokens for tester, and for whoever has the identity token."""
    authority, key = certificates[0], certificates[0].with_suffix(".key")
    with running_token_service(authority, key, login=f"tester:{PASSWORD}", identity=PASSWORD) as service:
        yield service


@pytest.fixture(scope="module")
def tokened(
    tmp_path_factory: pytest.TempPathFactory, tokens: TokenService, certificates: tuple[Path, Path, Path]
) -> Iterator[DockerRegistry]:
    """A registry that sends its clients to that service."""
    with running_docker_registry(tmp_path_factory.mktemp("tokened"), **tokens.settings(certificates[0])) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a login."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of one model."""
    add_model(tmp_path / "models")
    return tmp_path / "models"


def log_in(home: Path, registry: DockerRegistry, user: str = "tester", password: str = PASSWORD, **more: str) -> None:
    """As docker login does."""
    entry = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()} | more
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.host: entry}}))


def address(registry: DockerRegistry) -> StoreAddress:
    """An image of it."""
    return parse_address(f"oci://{registry.host}/team/models:v1")


def push_and_pull(models: Path, registry: DockerRegistry) -> None:
    """There and back."""
    push_repository(PushOptions(repository=models, store=address(registry)))
    pulled = pull_repository(PullOptions(store=address(registry), repository=models.parent / "pulled"))
    assert pulled.changed == ("digits",)


def test_a_login_with_a_password_is_used(home: Path, models: Path, closed: DockerRegistry) -> None:
    """For pushes and pulls."""
    log_in(home, closed)
    push_and_pull(models, closed)


def test_a_login_with_tokens_is_used(home: Path, models: Path, tokened: DockerRegistry, tokens: TokenService) -> None:
    """A push asks for the right to push at once, and one token serves all its requests."""
    log_in(home, tokened)
    before = len(tokens.scopes)
    push_repository(PushOptions(repository=models, store=address(tokened)))
    # One to read what the tag names, one to push.
    assert tokens.scopes[before:] == ["repository:team/models:pull", "repository:team/models:pull,push"]
    push_and_pull(models, tokened)


def test_a_prune_asks_for_the_right_to_delete(
    home: Path, models: Path, tokened: DockerRegistry, tokens: TokenService
) -> None:
    """At once, too; a dry run only for that to read."""
    log_in(home, tokened)
    image = parse_address(f"oci://{tokened.host}/team/pruned:v1")
    push_repository(PushOptions(repository=models, store=image))
    before = len(tokens.scopes)
    for dry_run in (True, False):
        prune(PruneOptions(repository=image, dry_run=dry_run))
    assert tokens.scopes[before:] == ["repository:team/pruned:pull", "repository:team/pruned:pull,push,delete"]


def test_an_identity_token_is_exchanged(home: Path, models: Path, tokened: DockerRegistry) -> None:
    """As logins at Azure leave it, in place of a password."""
    log_in(home, tokened, "00000000-0000-0000-0000-000000000000", "", identitytoken=PASSWORD)
    push_and_pull(models, tokened)


@pytest.mark.parametrize("registry", ["closed", "tokened"])
@pytest.mark.parametrize("password", [None, "mistaken"])
def test_a_login_that_is_missing_or_wrong_is_said_at_once(
    registry: str, password: str | None, home: Path, models: Path, request: pytest.FixtureRequest
) -> None:
    """With how to log in, and without the password."""
    running: DockerRegistry = request.getfixturevalue(registry)
    if password:
        log_in(home, running, password=password)
    with pytest.raises(EndpointError, match="does not let you read images: it knows no valid login") as refused:
        push_repository(PushOptions(repository=models, store=address(running)))
    assert refused.value.hint is not None
    assert f"log in: docker login {running.host}" in refused.value.hint
    assert "mistaken" not in "".join(traceback.format_exception(refused.value))


def test_no_message_contains_a_secret(
    home: Path, models: Path, closed: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not of a push that works, nor of one that is refused halfway."""
    log_in(home, closed)
    said: list[str] = []
    push_repository(PushOptions(repository=models, store=address(closed)), said.append)
    index = closed.read(closed.tagged("team/models", "v1"))
    for each in index["manifests"]:
        closed.blob(each["digest"]).unlink()
    with pytest.raises(ServeError) as refused:
        read_image(address(closed))
    printed = "".join([*said, *capfd.readouterr(), *traceback.format_exception(refused.value)])
    for secret in (PASSWORD, base64.b64encode(f"tester:{PASSWORD}".encode()).decode()):
        assert secret not in printed


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, certificates: tuple[Path, Path, Path]
) -> Iterator[DockerRegistry]:
    """A registry with a certificate of its own authority."""
    tls = {"certificate": str(certificates[1]), "key": str(certificates[2])}
    with running_docker_registry(tmp_path_factory.mktemp("encrypted"), http={"tls": tls}) as running:
        yield running


def test_a_certificate_of_an_unknown_authority_is_refused(home: Path, encrypted: DockerRegistry) -> None:
    """With the variable that names the authority."""
    with pytest.raises(EndpointError, match="is not trusted: unable to get local issuer certificate") as refused:
        read_image(address(encrypted))
    assert refused.value.hint == "name its authority's certificate by REQUESTS_CA_BUNDLE=ca.pem"


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    home: Path,
    models: Path,
    encrypted: DockerRegistry,
    certificates: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And on this machine, https is tried before http."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates[0]))
    push_and_pull(models, encrypted)


def test_an_authority_for_one_registry_is_trusted_beside_all_others(
    home: Path,
    models: Path,
    encrypted: DockerRegistry,
    certificates: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In podman's folder or docker's; a variable that names others, as a company's machine sets it, changes nothing."""
    folder = home / ".config" / "containers" / "certs.d" / encrypted.host
    folder.mkdir(parents=True)
    shutil.copy(certificates[0], folder / "company.crt")
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(make_certificates(tmp_path / "other")[0]))
    push_and_pull(models, encrypted)
    (folder / "more.crt").write_text("no certificate")
    with pytest.raises(UsageError, match=r"more\.crt cannot be read as a certificate"):
        read_image(address(encrypted))


def test_plain_http_elsewhere_must_be_asked_for(
    home: Path, closed: DockerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not this machine by its name is never reached by http, unless that is said."""
    log_in(home, closed)
    # Linux takes it for this machine; serve does not.
    host = closed.host.replace("127.0.0.1", "0.0.0.0")
    elsewhere = parse_address(f"oci://{host}/team/models:v1")
    with pytest.raises(EndpointError, match="does not speak TLS") as refused:
        read_image(elsewhere)
    assert refused.value.hint == f"where it is meant to be plain http: SERVE_HTTP_REGISTRIES={host}"
    monkeypatch.setenv("SERVE_HTTP_REGISTRIES", f"other.example,{host}")
    with pytest.raises(EndpointError, match="it knows no valid login"):
        read_image(elsewhere)


def test_a_registry_that_is_read_only_is_said(models: Path, home: Path, tmp_path: Path) -> None:
    """Before anything is sent."""
    storage = {
        "filesystem": {"rootdirectory": str(tmp_path / "kept" / "registry")},
        "maintenance": {"readonly": {"enabled": True}},
    }
    with (
        running_docker_registry(tmp_path / "kept", storage=storage) as running,
        pytest.raises(DestinationError, match="it is read-only"),
    ):
        push_repository(PushOptions(repository=models, store=address(running)))
