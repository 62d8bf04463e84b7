"""The arguments of an engine, as a user gives them and as model.json and model.yaml hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.language_models.known_arguments import TENSORRT_LLM_ARGUMENTS, VLLM_ARGUMENTS
from serve_deploy.language_models.precision import Backend
from serve_deploy.model_config.problem import did_you_mean

KNOWN: Mapping[Backend, frozenset[str]] = {"vllm": VLLM_ARGUMENTS, "tensorrtllm": TENSORRT_LLM_ARGUMENTS}
ENGINE_NAMES: Mapping[Backend, str] = {"vllm": "vLLM", "tensorrtllm": "TensorRT-LLM"}
# What has an option of its own, by the engine's name for it.
_OPTIONS = {
    "model": "weights", "tensor_parallel_size": "tensor_parallel", "pipeline_parallel_size": "pipeline_parallel",
    "max_model_len": "max_model_len", "max_seq_len": "max_model_len", "max_num_seqs": "max_num_seqs",
    "max_batch_size": "max_num_seqs", "dtype": "dtype", "quantization": "quantization",
    "kv_cache_dtype": "kv_cache_dtype", "kv_cache_config.dtype": "kv_cache_dtype", "enable_lora": "lora",
    "triton_config": "backend", "backend": "backend",
}  # fmt: skip


@dataclass(frozen=True)
class EngineArgument:
    """One argument, with why it is what it is; a dot in the name leads into a mapping."""

    name: str
    value: Any
    reason: str


def read_engine_argument(text: str) -> EngineArgument:
    """Read `name=value`, the value as JSON where it is some; UsageError where it is none, or has an option."""
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-zA-Z0-9_]+)*", name):
        raise UsageError(f"`engine_arguments={text}` is not NAME=VALUE", hint="for example enforce_eager=true")
    if option := _OPTIONS.get(name):
        raise UsageError(f"`engine_arguments={text}`: {name} has an option of its own", hint=f"use `{option}`")
    return EngineArgument(name, _parse(value), "chosen by the user")


def note_unknown(backend: Backend, names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that the engine is not known to have."""
    for name in names:
        first = name.partition(".")[0]
        if first not in KNOWN[backend]:
            meant = did_you_mean(first, KNOWN[backend])
            said = f"{ENGINE_NAMES[backend]} is not known to have the argument {first}; with one that it does not have,"
            yield f"{said} it loads no model" + (f": {meant}" if meant else "")


def nest_arguments(arguments: tuple[EngineArgument, ...]) -> dict[str, Any]:
    """The arguments as a document; a later one replaces an earlier one."""
    document: dict[str, Any] = {}
    for argument in arguments:
        *parents, last = argument.name.split(".")
        place = document
        for parent in parents:
            inner = place.setdefault(parent, {})
            place = inner if isinstance(inner, dict) else {}
        place[last] = argument.value
    return document


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(value, value)
