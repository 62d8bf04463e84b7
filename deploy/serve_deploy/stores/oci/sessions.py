"""An oras `Registry` whose requests end, send no other credentials, and trust what docker and podman trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.stores.backends.words import require_authorities
from serve_deploy.stores.oci.reference import ImageReference

_CONNECT_SECONDS, _ANSWER_SECONDS = 30.0, 300.0
# Python's http client sends bodies in pieces of 16 KiB otherwise.
_BLOCK_BYTES = 1 << 20


def make_registry(reference: ImageReference, environment: Mapping[str, str], *, plain: bool) -> Any:
    """Over http where it is `plain`; UsageError where oras is missing, or a certificate is none."""
    require_authorities("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    try:
        from oras.provider import Registry
        from requests.adapters import HTTPAdapter
    except ImportError as error:
        raise UsageError("oci:// stores need oras", hint=f"install it: {install_command('oci')}") from error

    # Beside the usual authorities, or those of REQUESTS_CA_BUNDLE.
    trusted = {} if plain else _trust(reference, environment)

    class Adapter(HTTPAdapter):
        """Every request ends, also those that oras makes."""

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options | {"blocksize": _BLOCK_BYTES} | trusted)

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            options["timeout"] = options.get("timeout") or (_CONNECT_SECONDS, _ANSWER_SECONDS)
            return super().send(request, *arguments, **options)

    registry = Registry(hostname=reference.api_host, insecure=plain)
    registry.session.mount("https://", Adapter(pool_maxsize=32))
    registry.session.mount("http://", Adapter(pool_maxsize=32))
    # Digests are of what is stored, and not of what a proxy makes of it.
    registry.session.headers["Accept-Encoding"] = "identity"
    # Without it, requests would send what ~/.netrc has for the host, in place of a token.
    registry.session.auth = lambda request: request
    return registry


def _trust(reference: ImageReference, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the pool needs to trust the registry's own authorities, too."""
    from urllib3.util import create_urllib3_context

    files = [
        file for folder in _list_folders(environment) for file in sorted((folder / reference.registry).glob("*.crt"))
    ]
    if not files:
        return {}
    context = create_urllib3_context()
    for file in files:
        try:
            context.load_verify_locations(file)
        except OSError as error:
            raise UsageError(
                f"{file} cannot be read as a certificate", hint="it should be an authority's, as PEM"
            ) from error
    return {"ssl_context": context}


def _list_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "certs.d"
    yield Path("/etc/containers/certs.d")
    yield Path("/etc/docker/certs.d")
