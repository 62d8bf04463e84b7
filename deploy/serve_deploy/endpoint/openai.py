"""What a server with OpenAI's protocol says of itself: the models that it serves."""

from __future__ import annotations

import json
from http import HTTPStatus

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import HttpConnection, RefusedError
from serve_deploy.endpoint.model import Model
from serve_deploy.errors import EndpointError

_UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_KEY_HINT = "give the server's key in `token_file`, or in the variable SERVE_TOKEN"
_ADDRESS_HINT = "is this a server with OpenAI's protocol? Give its address without /v1"


def describe_served_model(endpoint: Endpoint, model: str, *, timeout_seconds: float) -> Model:
    """The model as /v1/models has it: of its tensors and its configuration OpenAI's protocol says nothing.

    EndpointError lists the models that there are where it is none of them.
    """
    connection = HttpConnection(endpoint, timeout_seconds)
    try:
        content, _ = connection.exchange("GET", "/v1/models")
        served = {str(entry["id"]): str(entry.get("owned_by") or "") for entry in json.loads(content)["data"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EndpointError(
            f"{endpoint.url}/v1/models: the answer is not a list of models: {content[:80].decode(errors='replace')}",
            hint="is this a server with OpenAI's protocol?",
        ) from error
    except RefusedError as error:
        refused = error.status in _UNAUTHORIZED
        raise EndpointError(error.message, hint=_KEY_HINT if refused else _ADDRESS_HINT) from error
    finally:
        connection.close()
    if model not in served:
        raise EndpointError(f"{endpoint.url} serves no model '{model}'", hint=f"it serves {', '.join(sorted(served))}")
    return Model(
        name=model,
        version="",
        platform=served[model],
        inputs=(),
        outputs=(),
        max_batch_size=0,
        is_decoupled=True,
        is_sequence=False,
        members=(),
        config_sha256="",
        instances=None,
    )
