"""What a configuration says of a model's scheduling, as a load-test report keeps it: the twin needs no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIELDS = (
    "name", "max_batch_size", "dynamic_batching", "sequence_batching", "ensemble_scheduling",
    "model_transaction_policy",
)  # fmt: skip
_INPUT_FIELDS = ("dims", "allow_ragged_batch")


def keep_scheduling(config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduling of a configuration in its JSON form, as a running Triton tells it."""
    kept = {field: config[field] for field in _FIELDS if field in config}
    batching = dict(kept.get("dynamic_batching") or {})
    # Without preferred sizes Triton takes the largest batch as the only one.
    if list(map(str, batching.get("preferred_batch_size", ()))) == [str(config.get("max_batch_size"))]:
        del batching["preferred_batch_size"]
    kept |= {"dynamic_batching": batching} if "dynamic_batching" in kept else {}
    # What an ensemble's inputs are called, its steps say as well.
    fields = ("name", *_INPUT_FIELDS) if "ensemble_scheduling" in config else _INPUT_FIELDS
    kept["input"] = [{field: each[field] for field in fields if field in each} for each in config.get("input", [])]
    return kept


def read_scheduling(document: Mapping[str, Any] | None) -> Any:
    """The ModelConfig with nothing but this scheduling; None where it was not kept, or is no configuration."""
    from google.protobuf import json_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    if not document:
        return None
    try:
        return json_format.ParseDict(dict(document), ModelConfig(), ignore_unknown_fields=True)
    except json_format.ParseError:
        return None
