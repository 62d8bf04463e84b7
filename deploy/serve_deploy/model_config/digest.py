"""One digest for a model configuration, whether read from config.pbtxt or from a running Triton.

Triton completes what it loads: it names instance groups, adds defaults and writes out every empty field. The digest
covers what decides how the model computes and batches, without what Triton fills in, so that a load-test report and
a model repository can recognise each other. Instance groups are not in it: a server always has some, so `instances`
stands beside the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_FIELDS = (
    "name", "backend", "max_batch_size", "input", "output", "sequence_batching", "ensemble_scheduling",
    "optimization", "parameters", "response_cache", "model_transaction_policy",
)  # fmt: skip
# Triton sets these, or they do not change what is computed.
_IGNORED = {"label_filename", "input_pinned_memory", "output_pinned_memory", "gather_kernel_buffer_threshold",
            "eager_batching", "priority", "cuda", "model_version"}  # fmt: skip
# The older way of naming a backend, which Triton translates.
_PLATFORM_BACKENDS = {
    "onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow",
}  # fmt: skip
_DEFAULT_SEQUENCE_IDLE_US = 1_000_000


def config_sha256(config: Mapping[str, Any]) -> str:
    """The digest of a configuration in its JSON form (proto field names; 64-bit numbers as numbers or strings)."""
    kept = {field: _normal(config[field]) for field in _FIELDS if field in config}
    kept["backend"] = kept.get("backend") or _PLATFORM_BACKENDS.get(config.get("platform", ""), "")
    sequences = kept.get("sequence_batching") or {}
    if sequences.get("max_sequence_idle_microseconds") == _DEFAULT_SEQUENCE_IDLE_US:
        del sequences["max_sequence_idle_microseconds"]
    kept = {field: value for field, value in kept.items() if value not in _EMPTY}
    if "dynamic_batching" in config:
        kept["dynamic_batching"] = _dynamic_batching(config)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def instance_count(config: Mapping[str, Any]) -> int | None:
    """Instances on one device, over all groups; None where the configuration leaves them to Triton."""
    groups = config.get("instance_group") or ()
    return sum(int(group.get("count") or 1) for group in groups) or None


def _dynamic_batching(config: Mapping[str, Any]) -> Any:
    batching = _normal(config["dynamic_batching"]) or {}
    # Without preferred sizes Triton takes the largest batch as the only one.
    if batching.get("preferred_batch_size") == [_normal(config.get("max_batch_size", 0))]:
        del batching["preferred_batch_size"]
    return {"enabled": True, **batching}


# FORMAT_NONE is how an input without a format is written out.
_EMPTY: tuple[Any, ...] = (None, "", 0, False, [], {}, "FORMAT_NONE")


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = {key: _normal(item) for key, item in value.items() if key not in _IGNORED}
        return {key: item for key, item in items.items() if item not in _EMPTY}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return value
