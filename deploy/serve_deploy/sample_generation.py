"""Make samples that a real model accepts, from what its graph says of each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx_model import OnnxModel, session_runner, session_signature
from serve_deploy.samples import Samples
from serve_deploy.tensor import DataType, TensorSpec


@dataclass(frozen=True)
class GeneratedSamples:
    """The samples that the model accepted, and in words what was tried; empty where it accepted nothing."""

    samples: Samples
    attempts: tuple[str, ...]


def generate_samples(model: OnnxModel, session: Any, count: int = 4, *, seed: int = 0) -> GeneratedSamples:
    """Guess inputs until the model runs on them; each sample has 1 on axis 0 where that axis is free."""
    run = session_runner(session, timeout_seconds=20)
    signature = session_signature(session, model)
    attempts = []
    for size in (64, 16, 224, 1, 16000, 512):
        rng = np.random.default_rng(seed)
        samples = tuple(
            {t.name: _array(t, size, rng) for t in signature.inputs if not t.optional} for _ in range(count)
        )
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in samples[0].items())
        try:
            for sample in samples:
                run(sample)
        except InvalidModelError as error:
            attempts.append(f"{shapes}: {error.message}")
            continue
        return GeneratedSamples(samples, (*attempts, f"{shapes}: accepted"))
    return GeneratedSamples((), tuple(attempts))


def _array(tensor: TensorSpec, size: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = tuple((1 if axis == 0 else size) if dim == -1 else dim for axis, dim in enumerate(tensor.shape))
    if tensor.data_type is DataType.BYTES:
        array = np.empty(shape, dtype=object)
        array.reshape(-1)[:] = [f"text {rng.integers(9)}" for _ in range(array.size)]
        return array
    if tensor.data_type.is_float:
        return rng.random(shape).astype(tensor.data_type.numpy_name)
    return rng.integers(0, 2, shape).astype(tensor.data_type.numpy_name)
