"""Package a language model for vLLM or TensorRT-LLM: nothing is run, everything follows from the checkpoint."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.language_models.checkpoint import Checkpoint
from serve_deploy.language_models.engine_arguments import EngineArgument
from serve_deploy.language_models.precision import Backend
from serve_deploy.language_models.triton_config import build_engine_config, format_engine_config
from serve_deploy.manifest import MANIFEST_NAME, BatchingProof, Manifest
from serve_deploy.model_config import CONFIG_NAME, ConfigOptions
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.option import changed_fields
from serve_deploy.packaging.language_models.checkpoint_source import find_checkpoint
from serve_deploy.packaging.language_models.document import describe_language_model
from serve_deploy.packaging.language_models.files import engine_files, require_llmapi_files
from serve_deploy.packaging.language_models.plan import LanguagePlan, plan_language_model
from serve_deploy.packaging.options import LanguageModelOptions, PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.packaging.versions.destination import look_at_destination
from serve_deploy.packaging.versions.settings import describe_settings
from serve_deploy.progress import Progress
from serve_deploy.refused_values import say_plainly
from serve_deploy.releases import DEFAULT_RELEASE, find_release
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import (
    check_policy,
    choose_version,
    commit_version,
    digest_files,
    is_older,
    require_same_tensors,
    staged_model,
    write_shared,
)
from serve_deploy.version import __version__

_OF_ONNX = ("samples", "max_batch_size", "fix", "labels", "runtime", "warmup", "profiles", "engine_cache")
# What belongs to one version's weights, not to the next one's.
_NOT_KEPT = {"checkpoint_config", "weights", "llmapi"}
_KEPT = tuple(field.name for field in fields(LanguageModelOptions) if field.name not in _NOT_KEPT)


def require_applicable(options: PackageOptions, *, several: bool = False) -> None:
    """UsageError for an option that has no meaning with the backend, or not for `several` models at once."""
    if options.backend == "onnxruntime":
        if given := next(changed_fields(options.language_model), None):
            raise UsageError(f"`{given}` is for language models", hint="say which engine serves it: `backend=vllm`")
        return
    if several and (given := next(changed_fields(options.language_model, ("checkpoint_config", "weights")), None)):
        raise UsageError(f"`{given}` is for a single model", hint="package them one by one")
    if given := next(changed_fields(options, _OF_ONNX), None):
        raise UsageError(f"`{given}` has no meaning with `backend={options.backend}`", hint="leave it out")
    if replace(options.config, version_policy=None) != ConfigOptions():
        raise UsageError(
            f"options on devices, batching and queues have no meaning with `backend={options.backend}`",
            hint="the engine decides them: `engine_arguments` sets its own",
        )
    if options.backend == "vllm" and options.language_model.llmapi:
        raise UsageError("`llmapi` is for `backend=tensorrtllm`", hint="vLLM's backend needs no model.py: leave it out")
    if options.backend != "vllm" and options.language_model.lora:
        raise UsageError("`lora` is for `backend=vllm`", hint="requests to TensorRT-LLM name an adapter by lora_path")


def package_language_model(source: Path, name: str, options: PackageOptions, progress: Progress) -> PackagedModel:
    """Package one checkpoint; on any error the repository is as it was before."""
    backend = options.backend
    if backend == "onnxruntime":
        raise UsageError("`backend=onnxruntime` serves ONNX files")
    destination, existing = look_at_destination(name, options.folder)
    version = choose_version(existing, options.version, force=options.force)
    older = existing if is_older(version, existing) else None
    options, kept = _inherit(options, None if older else existing)
    release = find_release(options.release or DEFAULT_RELEASE).name
    notes = () if older else check_policy(options.config.version_policy, version, existing)
    pinned = _pin(options)
    checkpoint = find_checkpoint(source, pinned.checkpoint_config, progress, revision=_find_revision(pinned))
    plan = plan_language_model(checkpoint, _weights(source, options), backend, pinned)
    config = build_engine_config(backend, name, options.config.version_policy)
    require_same_tensors(config, version, existing, force=options.force)
    text = older.config_text if older and older.config_text else format_engine_config(backend, config)
    subject = _Subject(name, version, release, source, checkpoint, config)
    manifest = _describe(subject, plan, options)
    llmapi = options.language_model.llmapi
    if llmapi is not None:
        require_llmapi_files(llmapi)
    with nullcontext() if options.dry_run else staged_model(options.folder, name) as folder:
        if folder is not None:
            progress(f"writing {name}")
            files = engine_files(backend, plan.arguments, pinned)
            write_shared(folder, {CONFIG_NAME: text.encode(), **{f"{version}/{k}": v for k, v in files.items()}})
            manifest = manifest.model_copy(update={"files": digest_files(folder)})
            manifest = commit_version(folder, destination, existing, manifest)
    told = (f"kept from before: {describe_settings(kept)}",) if kept else ()
    notes = (*told, *notes, *plan.notes, *_note_weights(source, options), *_note_files(backend, llmapi, release))
    return PackagedModel(name, version, source, destination, options.dry_run, text, manifest, notes)


@dataclass(frozen=True)
class _Subject:
    name: str
    version: int
    release: str
    source: Path
    checkpoint: Checkpoint
    config: Any


def _describe(subject: _Subject, plan: LanguagePlan, options: PackageOptions) -> Manifest:
    engine = "vLLM" if plan.engine.backend == "vllm" else "TensorRT-LLM"
    return Manifest(
        tool_version=__version__,
        name=subject.name,
        version=subject.version,
        triton_release=subject.release,
        source_name=str(subject.checkpoint.name),
        source_sha256=hashlib.sha256(subject.checkpoint.config_bytes).hexdigest(),
        inputs=client_tensors(subject.config, "input"),
        outputs=client_tensors(subject.config, "output"),
        batching=BatchingProof(
            verdict="not_batchable", max_batch_size=0, evidence=f"{engine} batches by itself, token by token"
        ),
        settings=_given(options),
        origin=options.origin,
        language_model=describe_language_model(subject.checkpoint, plan, options),
    )


def _pin(options: PackageOptions) -> LanguageModelOptions:
    """The options with the commit of the hub that the model was asked for at, which no later version keeps."""
    given, origin = options.language_model, options.origin
    if origin is None:
        return given
    others = (argument for argument in given.engine_arguments if argument.name != "revision")
    pin = EngineArgument("revision", origin.version, f"the commit of {origin.asked} when it was packaged")
    return replace(given, engine_arguments=(*others, pin))


def _find_revision(options: LanguageModelOptions) -> str | None:
    given = {argument.name: argument.value for argument in options.engine_arguments}
    return str(given["revision"]) if given.get("revision") else None


def _weights(source: Path, options: PackageOptions) -> str:
    if options.language_model.weights:
        return options.language_model.weights
    return str(source.resolve()) if source.is_dir() else str(source)


def _note_weights(source: Path, options: PackageOptions) -> tuple[str, ...]:
    weights = options.language_model.weights
    if weights is None and source.is_dir():
        return (f"the server must find the weights at {source.resolve()}; `weights` says where else they are",)
    if (weights or str(source)).startswith("/"):
        return ()
    return (
        "the server downloads the weights from the hub at each start; a volume at HF_HOME keeps them, and for a gated"
        " model it needs HF_TOKEN",
    )


def _note_files(backend: Backend, llmapi: Path | None, release: str) -> tuple[str, ...]:
    if backend == "vllm" or llmapi is not None:
        return ()
    return (
        "model.py and helpers.py are NVIDIA's, and still missing: they are in triton_backend/all_models/llmapi of the"
        f" TensorRT-LLM repository, at the tag of the tensorrt_llm in tritonserver:{release}-trtllm-python-py3;"
        " `llmapi` copies them",
    )


def _inherit(options: PackageOptions, existing: ModelFolder | None) -> tuple[PackageOptions, dict[str, Any]]:
    """The options with what the manifest kept and is not given anew, and what that is."""
    manifest = existing.manifest if existing else None
    if manifest is None or manifest.language_model is None or not options.keep_settings:
        return options, {}
    given = _given(options)
    kept = {key: value for key, value in manifest.settings.items() if key in (*_KEPT, "release") and key not in given}
    try:
        before = _adapter().validate_python({key: value for key, value in kept.items() if key in _KEPT})
    except ValidationError as error:
        raise InvalidModelError(
            f"{MANIFEST_NAME}: `settings` cannot be read: {say_plainly(error.errors()[0]['msg'])}",
            hint="`keep_settings=False` starts from the defaults",
        ) from error
    language = replace(options.language_model, **{key: getattr(before, key) for key in _KEPT if key in kept})
    return replace(options, language_model=language, release=kept.get("release", options.release)), kept


def _given(options: PackageOptions) -> dict[str, Any]:
    dumped = _adapter().dump_python(options.language_model, mode="json", exclude_defaults=True, include=set(_KEPT))
    return {**dumped, **({"release": options.release} if options.release else {})}


@cache
def _adapter() -> TypeAdapter[LanguageModelOptions]:
    return TypeAdapter(LanguageModelOptions)
