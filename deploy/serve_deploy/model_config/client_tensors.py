"""A configuration's tensors as a client sees them."""

from __future__ import annotations

from typing import Any

from serve_deploy.tensors.types import DataType as WireType
from serve_deploy.tensors.types import TensorSpec


def client_tensors(config: Any, kind: str) -> tuple[TensorSpec, ...]:
    """The `input` or `output` tensors, with the batch axis where the model batches; ValueError for an unknown type."""
    from tritonclient.grpc.model_config_pb2 import DataType

    batch = (-1,) if config.max_batch_size else ()
    return tuple(
        TensorSpec(
            name=tensor.name,
            data_type=WireType.from_config_name(DataType.Name(tensor.data_type)),
            shape=(*batch, *tensor.dims),
            optional=kind == "input" and tensor.optional,
        )
        for tensor in getattr(config, kind)
    )
