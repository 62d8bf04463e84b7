"""A configuration as Triton completes it before it compares it with the one that it serves. Pure.

Source: core, model_config_utils.cc: AutoCompleteBackendFields, NormalizeModelConfig, ConfigChangeRequiresReload.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DEFAULT_SEQUENCE_IDLE_US = 1_000_000
_BACKENDS = {
    "tensorrt": ("tensorrt_plan", "model.plan"),
    "onnxruntime": ("onnxruntime_onnx", "model.onnx"),
    "openvino": ("", "model.xml"),
    "pytorch": ("pytorch_libtorch", "model.pt"),
    "python": ("", "model.py"),
}
# What Triton changes in a loaded model without loading it again.
_IN_PLACE = ("instance_group", "version_policy")


def normalize(config: Any, name: str, file_name: str) -> Any:
    """The configuration with what Triton fills in; `file_name` is what the model's file is called."""
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    full = ModelConfig()
    full.CopyFrom(config)
    full.name = full.name or name
    _fill_backend(full, file_name)
    if full.HasField("dynamic_batching"):
        _prefer_largest(full.dynamic_batching.preferred_batch_size, full.max_batch_size)
    if full.HasField("sequence_batching"):
        batching = full.sequence_batching
        batching.max_sequence_idle_microseconds = batching.max_sequence_idle_microseconds or _DEFAULT_SEQUENCE_IDLE_US
        if batching.HasField("oldest"):
            _prefer_largest(batching.oldest.preferred_batch_size, full.max_batch_size)
    for group in full.instance_group:
        group.ClearField("name")  # an instance stays whatever it is called
    if not full.HasField("ensemble_scheduling"):
        for name in ("input_pinned_memory", "output_pinned_memory"):
            if not full.optimization.HasField(name):
                getattr(full.optimization, name).enable = True
    return full


def _fill_backend(config: Any, file_name: str) -> None:
    for backend, (platform, usual_file) in _BACKENDS.items():
        named = config.backend == backend or (not config.backend and platform and config.platform == platform)
        told_by_file = not config.backend and not config.platform and usual_file == file_name
        if named or told_by_file:
            config.backend = backend
            config.platform = config.platform or platform
            config.default_model_filename = config.default_model_filename or usual_file


def _prefer_largest(preferred: Any, max_batch_size: int) -> None:
    if not preferred and max_batch_size > 0:
        preferred.append(max_batch_size)


def list_differences(old: Any, new: Any) -> tuple[str, ...]:
    """The fields that differ between two normal configurations, in the order of model_config.proto."""
    before, after = (dict(_list_fields(config)) for config in (old, new))
    return tuple(field.name for field in old.DESCRIPTOR.fields if before.get(field.name) != after.get(field.name))


def _list_fields(config: Any) -> Iterator[tuple[str, bytes]]:
    """Each field that is set, with the bytes of its content; those of a map do not depend on its order."""
    for field, _value in config.ListFields():
        alone = type(config)()
        alone.CopyFrom(config)
        for other in config.DESCRIPTOR.fields:
            if other.name != field.name:
                alone.ClearField(other.name)
        yield field.name, alone.SerializeToString(deterministic=True)


def needs_reload(differences: tuple[str, ...]) -> tuple[str, ...]:
    """Of these fields, those that a loaded model cannot take in place."""
    return tuple(name for name in differences if name not in _IN_PLACE)
