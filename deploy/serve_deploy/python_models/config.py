"""config.pbtxt of a Python model, with the reason for each line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config import ConfigOptions, build_model_config, explain_config
from serve_deploy.python_models.model import BACKEND, PythonModel
from serve_deploy.tensors.types import ModelSignature

_REASONS = {
    "backend": "Triton runs 1/model.py in its Python backend",
    "instance_group.count": "one Python process; each further one needs its own memory, and a core to be of use",
    "input.optional": "the function has a default for it",
}


def build_python_config(name: str, model: PythonModel, options: ConfigOptions | None = None) -> Any:
    """The ModelConfig of a Python model, for `format_config`; unlike ONNX it may batch with optional inputs."""
    inputs = tuple(replace(spec, optional=False) for spec in model.signature.inputs)
    signature = ModelSignature(inputs, model.signature.outputs)
    config = build_model_config(signature, model.max_batch_size, replace(options or ConfigOptions(), name=name))
    config.backend = BACKEND
    for tensor, spec in zip(config.input, model.signature.inputs, strict=True):
        tensor.optional = spec.optional
    return config


def explain_python_config(
    config: Any, model: PythonModel, batching: BatchingProof, options: ConfigOptions | None = None
) -> dict[str, str]:
    """The reason for each line of `build_python_config`, by path."""
    return {**explain_config(config, model.signature, batching, options or ConfigOptions()), **_REASONS}
