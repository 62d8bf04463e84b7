"""What an inference reply holds. Pure."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import decode_tensor

Outputs = dict[str, NDArray[Any]]


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


def grpc_outputs(reply: bytes) -> Outputs:
    """The outputs of a ModelInferResponse."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferResponse.FromString(reply)
    return {
        item.name: decode_tensor(DataType(item.datatype), content, tuple(item.shape))
        for item, content in zip(message.outputs, message.raw_output_contents, strict=True)
    }
