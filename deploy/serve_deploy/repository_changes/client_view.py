"""A model of a repository as its clients see it."""

from __future__ import annotations

from contextlib import suppress

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_config import is_ensemble
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository_changes.client_effects import ClientView
from serve_deploy.tensors.types import ModelSignature

# What Triton sets where it completes a configuration whose tensors all have a free first dim.
_COMPLETED_BATCH_SIZE = 4
_DEFAULT_SEQUENCE_IDLE_US = 1_000_000


def view_model(folder: ModelFolder, *, is_decoupled: bool) -> ClientView:
    """What clients see of it; `is_decoupled` is also true of an ensemble that runs a decoupled model."""
    config = folder.config
    signature = _read_signature(folder)
    inputs = outputs = None
    max_batch_size = folder.max_batch_size
    with suppress(ValueError):
        if config.input and config.output:
            inputs, outputs = client_tensors(config, "input"), client_tensors(config, "output")
        elif signature:
            inputs, outputs = signature.inputs, signature.outputs
            if not max_batch_size and not signature.batch_obstacle:
                max_batch_size = _COMPLETED_BATCH_SIZE
    batching = config.sequence_batching
    return ClientView(
        inputs=inputs,
        outputs=outputs,
        max_batch_size=max_batch_size,
        is_decoupled=is_decoupled,
        is_sequence=config.HasField("sequence_batching"),
        versions=folder.served_versions,
        pins_versions=config.version_policy.WhichOneof("policy_choice") in ("all", "specific"),
        labels=folder.labels,
        max_queue_size=config.dynamic_batching.default_queue_policy.max_queue_size,
        is_cached=config.response_cache.enable,
        sequence_idle_us=batching.max_sequence_idle_microseconds or _DEFAULT_SEQUENCE_IDLE_US,
    )


def _read_signature(folder: ModelFolder) -> ModelSignature | None:
    """What the newest served ONNX file takes and returns, where the configuration leaves that to Triton."""
    if (folder.config.input and folder.config.output) or is_ensemble(folder.config) or not folder.onnx_files:
        return None
    from serve_deploy.onnx.model import read_model

    with suppress(InvalidModelError):
        return read_model(folder.onnx_files[-1]).signature
    return None
