"""Inference requests and replies as bytes, for HTTP and gRPC. Pure."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.model import Model, model_path
from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import decode_tensor, encode_tensor

Array = NDArray[Any]
Outputs = dict[str, Array]
# Of each input, the parameters that say where in shared memory it is.
Regions = dict[str, dict[str, Any]]
# The outputs to ask for: each with 0 for its values, or with how many of its highest classes; none asks for all.
Wanted = Mapping[str, int]


@dataclass(frozen=True)
class Sample:
    """The inputs of one request, and the outputs to expect of it where they are known; arrays have the batch axis."""

    inputs: dict[str, Array]
    outputs: dict[str, Array] = field(default_factory=dict)


def http_body(
    model: Model,
    sample: Sample,
    *,
    parameters: Mapping[str, Any] | None = None,
    regions: Regions | None = None,
    wanted: Wanted | None = None,
) -> tuple[bytes, int]:
    """The body of an inference request, and the length of the JSON that it starts with; all outputs in binary.

    With `regions`, the inputs are in shared memory and the body holds none of them.
    """
    blobs = {} if regions else _encode(model, sample)
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": model.input_named(name).data_type.value,
                "parameters": regions[name] if regions else {"binary_data_size": len(blobs[name])},
            }
            for name, array in sample.inputs.items()
        ],
        "parameters": {"binary_data_output": True, **(parameters or {})},
    }
    if wanted:
        document["outputs"] = [
            {"name": name, "parameters": {"binary_data": True, **({"classification": count} if count else {})}}
            for name, count in wanted.items()
        ]
    header = json.dumps(document).encode()
    return header + b"".join(blobs.values()), len(header)


def _encode(model: Model, sample: Sample) -> dict[str, bytes]:
    return {name: encode_tensor(model.input_named(name).data_type, array) for name, array in sample.inputs.items()}


def http_request(endpoint: Endpoint, model: Model, version: str, body: bytes, json_length: int) -> bytes:
    """A whole HTTP/1.1 request, ready to be sent over a connection that stays open."""
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(json_length)}
    if endpoint.compression:
        body = gzip.compress(body) if endpoint.compression == "gzip" else zlib.compress(body)
        headers |= {"Content-Encoding": endpoint.compression, "Accept-Encoding": endpoint.compression}
    return http_message(endpoint, f"{model_path(model.name, version)}/infer", headers, body)


def http_message(endpoint: Endpoint, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole HTTP/1.1 POST; the endpoint's own headers go before these."""
    sent = {"Host": endpoint.authority, **headers, **dict(endpoint.headers), "Content-Length": str(len(body))}
    lines = [f"POST {endpoint.path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def http_outputs(body: bytes, json_length: int | None) -> Outputs:
    """The outputs of an HTTP reply, in binary or in JSON; ValueError or KeyError where it is no such reply."""
    length = len(body) if json_length is None else json_length
    outputs, offset = {}, length
    for item in json.loads(body[:length])["outputs"]:
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[item["name"]] = np.array(item["data"]).reshape(item["shape"])
        else:
            outputs[item["name"]] = decode_tensor(
                DataType(item["datatype"]), body[offset : offset + size], tuple(item["shape"])
            )
            offset += size
    if offset != len(body):
        raise ValueError(f"the reply has {len(body)} bytes, its outputs say {offset}")
    return outputs


def grpc_request(
    model: Model,
    version: str,
    sample: Sample,
    *,
    parameters: Mapping[str, Any] | None = None,
    regions: Regions | None = None,
    wanted: Wanted | None = None,
) -> bytes:
    """A serialized ModelInferRequest that ends with its parameters; with `regions`, inputs are in shared memory."""
    from tritonclient.grpc.service_pb2 import ModelInferRequest

    message = ModelInferRequest(model_name=model.name, model_version=version)
    for name, array in sample.inputs.items():
        tensor = message.inputs.add(name=name, datatype=model.input_named(name).data_type.value, shape=array.shape)
        if regions:
            _set_parameters(tensor.parameters, regions[name])
    if not regions:
        message.raw_input_contents.extend(_encode(model, sample).values())
    for name, count in (wanted or {}).items():
        _set_parameters(message.outputs.add(name=name).parameters, {"classification": count} if count else {})
    # Concatenating messages merges them, and this way it is known where the parameters are.
    last = ModelInferRequest()
    _set_parameters(last.parameters, parameters or {})
    return message.SerializeToString() + last.SerializeToString()  # type: ignore[no-any-return]


def _set_parameters(target: Any, parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(target[name], kind, value)


def grpc_outputs(reply: bytes) -> Outputs:
    """The outputs of a ModelInferResponse."""
    from tritonclient.grpc.service_pb2 import ModelInferResponse

    message = ModelInferResponse.FromString(reply)
    return {
        item.name: decode_tensor(DataType(item.datatype), content, tuple(item.shape))
        for item, content in zip(message.outputs, message.raw_output_contents, strict=True)
    }
