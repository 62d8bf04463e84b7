"""What a packaged model itself answers to its samples: the outputs to expect of the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import UsageError
from serve_deploy.repository.model_folder import MODEL_NAME, find_onnx_file

Array = NDArray[Any]


def with_own_outputs(samples: tuple[Sample, ...], repository: Path, model: Model) -> tuple[Sample, ...]:
    """The samples with ONNX Runtime's outputs, in the shapes that a client sees; UsageError without an ONNX file."""
    from serve_deploy.onnx.session import open_model

    file = find_onnx_file(repository / model.name / model.version / MODEL_NAME)
    if file is None:
        raise UsageError(
            f"--validate: {repository} holds no {model.name}/{model.version}/{MODEL_NAME} to ask for the outputs",
            hint="give the outputs with --expected",
        )
    opened = open_model(file)
    return tuple(Sample(sample.inputs, _seen(opened.run(sample.inputs), model)) for sample in samples)


def _seen(outputs: Mapping[str, Array], model: Model) -> dict[str, Array]:
    ranks = {tensor.name: len(tensor.shape) for tensor in model.outputs}
    # Triton has no tensors of rank 0 beside the batch axis: it serves them as [1].
    return {
        name: np.reshape(array, (*array.shape, 1)) if array.ndim == ranks[name] - 1 else array
        for name, array in outputs.items()
        if name in ranks
    }
