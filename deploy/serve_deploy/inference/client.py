"""One inference request over HTTP or gRPC."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.address import Endpoint, build_ssl_context
from serve_deploy.endpoint.control import unreachable
from serve_deploy.endpoint.model import Model, model_path
from serve_deploy.endpoint.payload import Sample, http_body, http_error_text
from serve_deploy.errors import EndpointError
from serve_deploy.inference.options import InferenceOptions

if TYPE_CHECKING:
    import numpy as np

    Outputs = dict[str, np.ndarray[Any, Any]]


def send_request(options: InferenceOptions, model: Model, sample: Sample, wanted: Mapping[str, int]) -> Outputs:
    """Ask for each wanted output: its values, or where a number is given that many classes as `score:index:label`."""
    send = _send_http if options.endpoint.protocol == "http" else _send_grpc
    return send(options, model, sample, wanted)


def _send_http(options: InferenceOptions, model: Model, sample: Sample, wanted: Mapping[str, int]) -> Outputs:
    from serve_deploy.endpoint.replies import http_outputs

    body, length = http_body(model, sample)
    header = json.loads(body[:length])
    header["outputs"] = [
        {"name": name, "parameters": {"binary_data": True, **({"classification": classes} if classes else {})}}
        for name, classes in wanted.items()
    ]
    start = json.dumps(header).encode()
    path = model_path(model.name, options.model_version) + "/infer"
    status, answered, reply = _post(options, path, start + body[length:], len(start))
    if status != 200:
        raise EndpointError(
            f"{options.endpoint.url}: {model.name} refused the request: {http_error_text(status, reply)}",
            hint=model.input_list,
        )
    try:
        return http_outputs(reply, int(answered) if answered else None)
    except (ValueError, KeyError) as error:
        raise EndpointError(f"{options.endpoint.url}: the answer is none of Triton's: {error}") from error


def _post(options: InferenceOptions, path: str, body: bytes, json_length: int) -> tuple[int, str | None, bytes]:
    connection = _connect(options.endpoint, options.timeout_seconds)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(json_length),
        **dict(options.endpoint.headers),
    }
    try:
        connection.request("POST", options.endpoint.path + path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Inference-Header-Content-Length"), response.read()
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(options.endpoint, error) from error
    finally:
        connection.close()


def _connect(endpoint: Endpoint, timeout_seconds: float) -> http.client.HTTPConnection:
    if endpoint.is_encrypted:
        context = build_ssl_context(endpoint.tls)
        return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=timeout_seconds, context=context)
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_seconds)


def _send_grpc(options: InferenceOptions, model: Model, sample: Sample, wanted: Mapping[str, int]) -> Outputs:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    from serve_deploy.endpoint.grpc_channel import call_metadata, channel_credentials, channel_options
    from serve_deploy.endpoint.grpc_payload import grpc_request
    from serve_deploy.endpoint.replies import grpc_outputs

    endpoint = options.endpoint
    message = service_pb2.ModelInferRequest.FromString(grpc_request(model, options.model_version, sample))
    for name, classes in wanted.items():
        output = message.outputs.add(name=name)
        if classes:
            output.parameters["classification"].int64_param = classes
    channel = (
        grpc.secure_channel(endpoint.authority, channel_credentials(endpoint.tls), channel_options())
        if endpoint.is_encrypted
        else grpc.insecure_channel(endpoint.authority, channel_options())
    )
    with channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            reply = stub.ModelInfer(message, timeout=options.timeout_seconds, metadata=call_metadata(endpoint))
        except grpc.RpcError as error:
            raise EndpointError(
                f"{endpoint.url}: {model.name} refused the request: {error.details()} ({error.code().name})",
                hint=model.input_list,
            ) from error
    return grpc_outputs(reply.SerializeToString())
