"""The few HTTP calls that starting and watching a server needs, without a client library."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from serve_deploy.errors import EndpointError
from serve_deploy.triton.options import ModelState

_TIMEOUT_SECONDS = 10.0
# Loading is answered only when the model has loaded.
_CONTROL_TIMEOUT_SECONDS = 600.0


def get_server(url: str) -> dict[str, Any]:
    """The server's metadata: name, version, extensions; raises EndpointError where nothing answers."""
    _, answer = _request("GET", f"{url}/v2", None, _TIMEOUT_SECONDS)
    return answer if isinstance(answer, dict) else {}


def list_models(url: str) -> tuple[ModelState, ...]:
    """The repository index; a model that is not loaded has no version and no state, which is UNAVAILABLE here.

    Raises EndpointError where nothing answers, or an error does.
    """
    status, answer = _request("POST", f"{url}/v2/repository/index", {}, _TIMEOUT_SECONDS)
    if status != 200:
        raise EndpointError(f"{url} does not list its models: {answer}")
    return tuple(
        ModelState(
            name=model["name"],
            version=model.get("version", ""),
            state=model.get("state", "UNAVAILABLE"),
            reason=_plain(model.get("reason", "" if "state" in model else "not loaded")),
        )
        for model in answer
    )


def _plain(reason: str) -> str:
    """Triton's reason without where in the embedded backend's Python it was found."""
    return reason.partition("\n\nAt:\n")[0].replace("TritonModelException: ", "").strip()


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Send a control request and return the HTTP status and the answer."""
    status, answer = _request("POST", url, body, _CONTROL_TIMEOUT_SECONDS)
    return status, answer if isinstance(answer, dict) else {}


def _request(method: str, url: str, body: dict[str, Any] | None, timeout_seconds: float) -> tuple[int, Any]:
    from http.client import HTTPConnection, HTTPException

    parts = urlsplit(url)
    # One connection a request, closed at once: an idle one would hold up the server's shutdown.
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_seconds)
    try:
        connection.request(method, parts.path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}
    except (OSError, HTTPException, ValueError) as error:
        raise EndpointError(f"{url} does not answer: {error}") from error
    finally:
        connection.close()
