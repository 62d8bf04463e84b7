"""Send inference requests, and read the outputs that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from typing import Any

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import GrpcConnection, HttpConnection, RefusedError
from serve_deploy.endpoint.model import Model, model_path
from serve_deploy.endpoint.payload import Outputs, Sample, Wanted, grpc_outputs, grpc_request, http_body, http_outputs
from serve_deploy.errors import EndpointError


def send_request(
    endpoint: Endpoint,
    model: Model,
    sample: Sample,
    *,
    version: str = "",
    wanted: Wanted | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout_seconds: float = 60.0,
) -> Outputs:
    """Send one request over a connection of its own; classes come as `score:index:label`.

    EndpointError where nothing answers or Triton refuses.
    """
    try:
        if endpoint.protocol == "grpc":
            with closing(GrpcConnection(endpoint, timeout_seconds)) as grpc_connection:
                request = grpc_request(model, version, sample, wanted=wanted, parameters=parameters)
                return grpc_outputs(grpc_connection.call("ModelInfer", request))
        body, length = http_body(model, sample, wanted=wanted, parameters=parameters)
        with closing(HttpConnection(endpoint, timeout_seconds)) as connection:
            path = f"{model_path(model.name, version)}/infer"
            return http_outputs(*connection.exchange("POST", path, body, length))
    except RefusedError as error:
        raise EndpointError(
            f"{endpoint.url}: {model.name} refused the request: {error.reason}", hint=model.input_list
        ) from error
    except (ValueError, KeyError) as error:
        raise EndpointError(f"{endpoint.url}: the reply is not an inference reply of Triton: {error}") from error


def send_together(
    connection: GrpcConnection,
    model: Model,
    samples: Sequence[Sample],
    parameters: Sequence[Mapping[str, Any]] = (),
) -> list[Outputs]:
    """Send all requests at once over one channel and wait for every reply, in the order of the samples.

    `parameters` are those of each request, such as its sequence.
    """
    requests = [grpc_request(model, "", sample, parameters=own) for sample, own in zip_longest(samples, parameters)]
    return [grpc_outputs(reply) for reply in connection.call_together("ModelInfer", requests)]
