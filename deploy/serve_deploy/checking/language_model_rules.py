"""What keeps vLLM's backend, or TensorRT-LLM's model.py, from loading a model: found in the files, without a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from serve_deploy.language_models.engine_arguments import note_unknown
from serve_deploy.language_models.precision import Backend
from serve_deploy.model_config import CONFIG_NAME, Problem
from serve_deploy.repository.model_folder import ModelFolder

_VLLM_FILE, _LORA_FILE, _LLMAPI_FILE = "model.json", "multi_lora.json", "model.yaml"
_LLMAPI_CODE = ("model.py", "helpers.py")
_TENSORRT_LLM_REPOSITORY = "triton_backend/all_models/llmapi/tensorrt_llm/1 of the TensorRT-LLM repository"


def engine_of(folder: ModelFolder) -> Backend | None:
    """The engine that serves the model, if it is one of language models."""
    if folder.config.backend == "vllm":
        return "vllm"
    llmapi = folder.config.backend == "python" and any(_paths(folder, _LLMAPI_FILE))
    return "tensorrtllm" if llmapi else None


def check_engine(folder: ModelFolder) -> Iterator[Problem]:
    """Whether the engine could read its arguments, and would take the GPUs that they ask for."""
    engine = engine_of(folder)
    if engine is None or CONFIG_NAME in folder.errors:
        return
    if folder.max_batch_size:
        fix = "write max_batch_size: 0, or remove the line"
        yield Problem("max_batch_size", f"{folder.max_batch_size}: the engine batches by itself", fix)
    yield from _check_vllm(folder) if engine == "vllm" else _check_llmapi(folder)


def note_engine(folder: ModelFolder) -> Iterator[str]:
    """Arguments that the engine is not known to have, and what was never tried."""
    engine = engine_of(folder)
    if engine is None:
        return
    name = _VLLM_FILE if engine == "vllm" else _LLMAPI_FILE
    for path in _paths(folder, name):
        document, _problem = _read(path, folder, json.loads if engine == "vllm" else yaml.safe_load)
        for note in note_unknown(engine, map(str, document)):
            yield f"{path.relative_to(folder.path).as_posix()}: {note}"
        if engine == "tensorrtllm" and (document.get("triton_config") or {}).get("decoupled") is False:
            yield f"{path.relative_to(folder.path).as_posix()}: decoupled is false, so requests to stream are refused"


def _check_vllm(folder: ModelFolder) -> Iterator[Problem]:
    for path in _paths(folder, _VLLM_FILE):
        document, problem = _read(path, folder, json.loads)
        where = path.relative_to(folder.path).as_posix()
        if problem:
            yield problem
            continue
        if not document.get("model"):
            yield Problem(where, "no model is named: vLLM would serve its default one", 'write "model": PATH or ID')
        yield from _check_kind(folder, document)
        lora = path.with_name(_LORA_FILE)
        if lora.is_file():
            _adapters, problem = _read(lora, folder, json.loads)
            yield from [problem] if problem else []
        elif document.get("enable_lora"):
            yield Problem(where, f"enable_lora is true, but {_LORA_FILE} is missing", "write it: {NAME: PATH}")


def _check_kind(folder: ModelFolder, document: dict[str, Any]) -> Iterator[Problem]:
    """KIND_GPU stands for one GPU, and an engine takes all that it is given."""
    sizes = [document.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    gpus = sizes[0] * sizes[1] if all(isinstance(size, int) for size in sizes) else 1
    groups = list(folder.config.instance_group)
    if gpus > 1 and any(group.kind == group.KIND_GPU for group in groups):
        yield Problem(
            "instance_group",
            f"KIND_GPU is one GPU, and the model takes {gpus}: vLLM refuses it",
            "write instance_group [{ count: 1 kind: KIND_MODEL }]",
        )
    if sum(group.count for group in groups) > 1:
        yield Problem("instance_group", "several instances would each take all GPUs", "write count: 1")


def _check_llmapi(folder: ModelFolder) -> Iterator[Problem]:
    for path in _paths(folder, _LLMAPI_FILE):
        document, problem = _read(path, folder, yaml.safe_load)
        where = path.relative_to(folder.path).as_posix()
        if problem:
            yield problem
            continue
        if not document.get("model"):
            yield Problem(where, "no model is named", "write model: PATH or ID")
        triton = document.get("triton_config")
        missing = {"max_batch_size", "decoupled"} - set(triton if isinstance(triton, dict) else ())
        if missing or not isinstance(triton, dict):
            lacks = " and ".join(sorted(missing))
            yield Problem(
                where, f"triton_config has no {lacks}, which model.py reads", "write both, as serve package does"
            )
        elif folder.config.model_transaction_policy.decoupled and not triton["decoupled"]:
            yield Problem(
                where, f"decoupled is false, but true in {CONFIG_NAME}: the model fails at load", "write true"
            )
    for version in folder.versions:
        for name in _LLMAPI_CODE:
            if not (folder.path / str(version) / name).is_file():
                fix = f"copy it from {_TENSORRT_LLM_REPOSITORY}, at the tag of the container's tensorrt_llm"
                yield Problem(f"{version}/{name}", "the file is missing: it is TensorRT-LLM's own", fix)
    if (
        sum(group.count for group in folder.config.instance_group) > 1
        and "gpu_device_ids" not in folder.config.parameters
    ):
        yield Problem(
            "instance_group", "several instances need their GPUs", 'write the parameter gpu_device_ids: "0,1;2,3"'
        )


def _paths(folder: ModelFolder, name: str) -> list[Path]:
    found = (folder.path / str(version) / name for version in folder.versions)
    return [path for path in found if path.is_file()]


def _read(path: Path, folder: ModelFolder, parse: Callable[[str], Any]) -> tuple[dict[str, Any], Problem | None]:
    """The file's mapping, or an empty one and what is wrong with it."""
    where = path.relative_to(folder.path).as_posix()
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return {}, Problem(
            where, f"it cannot be read: {str(error).splitlines()[0]}", "correct it, or package the model again"
        )
    if not isinstance(document, dict):
        return {}, Problem(where, "it is not a mapping of arguments", "write one, such as serve package does")
    return document, None
