"""Warm-up requests from samples: Triton's wire bytes, one file an input in <model>/warmup/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.model_config.build import client_inputs, tensor_dims
from serve_deploy.model_config.options import WarmupInput
from serve_deploy.tensors.types import ModelSignature, TensorSpec
from serve_deploy.tensors.wire import encode_tensor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WARMUP_FOLDER = "warmup"


def build_warmup(
    signature: ModelSignature, max_batch_size: int, sample: Mapping[str, Array]
) -> tuple[WarmupInput, ...]:
    """The inputs of one warm-up request from one sample of whole shapes (batch axis 1 where the model batches).

    Nothing where the sample has an element-free input, which Triton's warm-up cannot send.
    """
    batched = max_batch_size > 0
    specs = [spec for spec in client_inputs(signature, max_batch_size) if spec.name in sample]
    if any(sample[spec.name].size == 0 for spec in specs):
        return ()
    return tuple(_warmup_input(index, spec, sample[spec.name], batched=batched) for index, spec in enumerate(specs))


def _warmup_input(index: int, spec: TensorSpec, array: Array, *, batched: bool) -> WarmupInput:
    _dims, reshape = tensor_dims(spec, batched=batched)
    shape = array.shape[1:] if batched else array.shape
    return WarmupInput(
        name=spec.name,
        config_type=spec.data_type.config_name,
        dims=(1,) if reshape is not None or not shape else shape,
        # Tensor names may hold slashes or be a whole JSON object; file names may not.
        file_name=f"input_{index}",
        content=encode_tensor(spec.data_type, array),
    )
