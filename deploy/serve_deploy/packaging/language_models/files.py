"""The files of a language model's version folder: model.json for vLLM, model.yaml for TensorRT-LLM's llmapi."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from serve_deploy.errors import UsageError
from serve_deploy.language_models.engine_arguments import EngineArgument, nest_arguments
from serve_deploy.language_models.precision import Backend
from serve_deploy.packaging.options import LanguageModelOptions

VLLM_FILE, LORA_FILE = "model.json", "multi_lora.json"
LLMAPI_FILE, LLMAPI_CODE = "model.yaml", ("model.py", "helpers.py")


def engine_files(
    backend: Backend, arguments: tuple[EngineArgument, ...], options: LanguageModelOptions
) -> dict[str, bytes]:
    """The files by their names; JSON has no place for reasons, so they stand in the manifest."""
    if backend == "tensorrtllm":
        code = {name: (options.llmapi / name).read_bytes() for name in LLMAPI_CODE} if options.llmapi else {}
        return {LLMAPI_FILE: format_yaml(arguments).encode(), **code}
    files = {VLLM_FILE: _json(nest_arguments(arguments))}
    if options.lora:
        files[LORA_FILE] = _json({adapter.name: adapter.path for adapter in options.lora})
    return files


def format_yaml(arguments: tuple[EngineArgument, ...]) -> str:
    """YAML with the reason for each argument above it."""
    document, lines = nest_arguments(arguments), []
    for key in document:
        for argument in arguments:
            name, _, below = argument.name.partition(".")
            if name == key:
                lines.append(f"# {f'{below}: ' if below else ''}{argument.reason}")
        lines.append(yaml.safe_dump({key: document[key]}, sort_keys=False, default_flow_style=False).rstrip("\n"))
    return "".join(f"{line}\n" for line in lines)


def require_llmapi_files(folder: Path) -> None:
    """UsageError where the folder does not hold TensorRT-LLM's own files."""
    missing = [name for name in LLMAPI_CODE if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"`llmapi={folder}` has no {' and no '.join(missing)}",
            hint="it is triton_backend/all_models/llmapi/tensorrt_llm/1 of the TensorRT-LLM repository",
        )


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
