"""gRPC request bytes, built once from tritonclient's messages."""

from __future__ import annotations

from typing import Any

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Regions, Sample
from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import encode_tensor


def grpc_request(model: Model, version: str, sample: Sample, regions: Regions | None = None) -> bytes:
    """A serialized ModelInferRequest; with `regions`, its inputs are in shared memory."""
    from tritonclient.grpc import service_pb2

    types = {tensor.name: tensor.data_type for tensor in model.inputs}
    message = service_pb2.ModelInferRequest(model_name=model.name, model_version=version)
    for name, array in sample.inputs.items():
        tensor = message.inputs.add(name=name, datatype=types[name], shape=array.shape)
        if regions:
            _set_parameters(tensor.parameters, regions[name])
        else:
            message.raw_input_contents.append(encode_tensor(DataType(types[name]), array))
    content: bytes = message.SerializeToString()
    return content


def grpc_parameters(parameters: dict[str, Any]) -> bytes:
    """Request parameters, to be appended to a serialized request: concatenating messages merges them."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest()
    _set_parameters(message.parameters, parameters)
    content: bytes = message.SerializeToString()
    return content


def _set_parameters(target: Any, parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(target[name], kind, value)
