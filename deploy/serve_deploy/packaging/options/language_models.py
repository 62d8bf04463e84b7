"""What a user may decide about packaging a language model for vLLM or TensorRT-LLM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.errors import UsageError
from serve_deploy.language_models.engine_arguments import EngineArgument, read_engine_argument
from serve_deploy.language_models.precision import CacheDtype, Dtype
from serve_deploy.option import Option

_LANGUAGE = "Language models"


@dataclass(frozen=True)
class LoraAdapter:
    """An adapter that requests choose by name; its path is that in the server's container."""

    name: str
    path: str


def read_lora(text: str) -> LoraAdapter:
    """Read `name=path`; UsageError where it is none."""
    name, equals, path = text.partition("=")
    if not equals or not path or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise UsageError(f"`lora={text}` is not NAME=PATH", hint="for example sql=/adapters/sql")
    return LoraAdapter(name, path)


@dataclass(frozen=True, kw_only=True)
class LanguageModelOptions:
    """Where the weights are, on which GPUs they are served, and the engine's arguments; None is derived."""

    checkpoint_config: Annotated[
        Path | None, Option("config.json of a MODEL that is not on this disk.", metavar="FILE", group=_LANGUAGE)
    ] = None
    weights: Annotated[
        str | None,
        Option(
            "Where the server finds the weights: a path in its container, or a hub ID; by default MODEL.",
            metavar="PATH|ID",
            group=_LANGUAGE,
        ),
    ] = None
    gpu_profile: Annotated[
        str | None,
        Option("The GPU to serve on, such as l4; by default the one of which fewest are needed.", metavar="PROFILE",
               group=_LANGUAGE),
    ] = None  # fmt: skip
    gpus_per_node: Annotated[
        int | None, Option("Most GPUs of a node; by default 8 (gh200: 1).", minimum=1, group=_LANGUAGE)
    ] = None
    tensor_parallel: Annotated[
        int | None, Option("GPUs that share each layer; by default as few as fit.", minimum=1, group=_LANGUAGE)
    ] = None
    pipeline_parallel: Annotated[
        int | None,
        Option("Stages that the layers are divided into; by default one for each node.", minimum=1, group=_LANGUAGE),
    ] = None
    max_model_len: Annotated[
        int | None,
        Option("Most tokens of a request and its answer; by default the model's context, or what fits.", minimum=1,
               group=_LANGUAGE),
    ] = None  # fmt: skip
    max_num_seqs: Annotated[
        int | None, Option("Most requests in one step; by default 256.", minimum=1, group=_LANGUAGE)
    ] = None
    dtype: Annotated[Dtype | None, Option("The weights' type; by default the checkpoint's.", group=_LANGUAGE)] = None
    quantization: Annotated[
        Literal["fp8", "awq", "gptq", "mxfp4", "nvfp4", "bitsandbytes"] | None,
        Option("The weights' quantisation; by default the checkpoint's. vLLM makes fp8 of any.", group=_LANGUAGE),
    ] = None
    kv_cache_dtype: Annotated[CacheDtype, Option("The KV cache's type; fp8 halves it.", group=_LANGUAGE)] = "auto"
    engine_arguments: Annotated[
        tuple[EngineArgument, ...],
        Option("Another argument of the engine; repeatable.", metavar="NAME=VALUE", group=_LANGUAGE,
               read=read_engine_argument),
    ] = ()  # fmt: skip
    lora: Annotated[
        tuple[LoraAdapter, ...],
        Option("A LoRA adapter for vLLM, by its path in the container; repeatable.", metavar="NAME=PATH",
               group=_LANGUAGE, read=read_lora),
    ] = ()  # fmt: skip
    llmapi: Annotated[
        Path | None,
        Option("Folder of TensorRT-LLM's own model.py and helpers.py, which are copied.", metavar="DIR",
               group=_LANGUAGE),
    ] = None  # fmt: skip
