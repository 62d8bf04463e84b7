"""Random requests for a model, from its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import UsageError
from serve_deploy.tensors.types import DataType, TensorSpec, fits_shape

Shapes = dict[str, tuple[int, ...]]


def generate_sample(model: Model, *, shapes: Shapes, seed: int, string_length: int) -> Sample:
    """One row of random inputs: floats in [0, 1), integers and booleans 0 or 1, strings of letters."""
    for name in shapes:
        model.input_named(name)
    generator = np.random.default_rng(seed)
    wanted = [tensor for tensor in model.inputs if not tensor.optional or tensor.name in shapes]
    return Sample(
        {
            tensor.name: _random(generator, tensor.data_type, request_shape(model, tensor, shapes), string_length)
            for tensor in wanted
        }
    )


def request_shape(model: Model, tensor: TensorSpec, shapes: Shapes) -> tuple[int, ...]:
    """The full shape of a request of one row, from the served shape and the given ones."""
    batch = (1,) if model.max_batch_size > 0 else ()
    served = tensor.shape[len(batch) :]
    given = shapes.get(tensor.name, served)
    if not fits_shape(served, given):
        raise UsageError(
            f"input {tensor.name} does not take the shape [{', '.join(map(str, given))}]"
            + (" in a batch" if batch else ""),
            hint=model.input_list,
        )
    if any(dim < 0 for dim in given):
        raise UsageError(
            f"input {tensor.name} has free dims: [{', '.join(map(str, served))}]",
            hint=f"say how large with `shapes={tensor.name}:{','.join(str(dim) if dim > 0 else 'N' for dim in served)}`"
            f" (without the batch axis), or send real data; {model.input_list}",
        )
    return batch + given


def _random(
    generator: np.random.Generator, data_type: DataType, shape: tuple[int, ...], string_length: int
) -> NDArray[Any]:
    if data_type is DataType.BYTES:
        letters = generator.integers(ord("a"), ord("z") + 1, (int(np.prod(shape)), string_length), dtype=np.uint8)
        return np.array([row.tobytes() for row in letters], object).reshape(shape)
    if data_type.is_float:
        return generator.random(shape, np.float32).astype(data_type.numpy_name)
    return generator.integers(0, 2, shape).astype(data_type.numpy_name)
