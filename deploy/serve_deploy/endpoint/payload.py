"""Request bytes, built once: tensors on the wire and whole HTTP requests. Pure."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.model import Model, model_path
from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import encode_tensor

Array = NDArray[Any]
# Of each input, the parameters that say where in shared memory it is.
Regions = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """The inputs of one request, and the outputs to expect of it where they are known; arrays have the batch axis."""

    inputs: dict[str, Array]
    outputs: dict[str, Array] = field(default_factory=dict)


def http_body(
    model: Model, sample: Sample, parameters: dict[str, Any] | None = None, regions: Regions | None = None
) -> tuple[bytes, int]:
    """The body of an inference request, and the length of the JSON that it starts with; all outputs in binary.

    With `regions`, the inputs are in shared memory and the body holds none of them.
    """
    types = {tensor.name: tensor.data_type for tensor in model.inputs}
    blobs = (
        {} if regions else {name: encode_tensor(DataType(types[name]), array) for name, array in sample.inputs.items()}
    )
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": types[name],
            "parameters": regions[name] if regions else {"binary_data_size": len(blobs[name])},
        }
        for name, array in sample.inputs.items()
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True, **(parameters or {})}}).encode()
    return header + b"".join(blobs.values()), len(header)


def http_request(endpoint: Endpoint, model: Model, version: str, body: bytes, json_length: int) -> bytes:
    """A whole HTTP/1.1 request, ready to be sent over a connection that stays open."""
    headers = {
        "Host": endpoint.authority,
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(json_length),
    }
    if endpoint.compression:
        body = gzip.compress(body) if endpoint.compression == "gzip" else zlib.compress(body)
        headers |= {"Content-Encoding": endpoint.compression, "Accept-Encoding": endpoint.compression}
    headers |= {**dict(endpoint.headers), "Content-Length": str(len(body))}
    lines = [f"POST {endpoint.path}{model_path(model.name, version)}/infer HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def http_error_text(status: int, reply: bytes) -> str:
    """What an error reply says, from its last received part."""
    body = reply.partition(b"\r\n\r\n")[2] or reply
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}: {body[:200].decode(errors='replace').strip()}"
