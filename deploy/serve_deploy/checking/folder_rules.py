"""What is wrong with a model's folder, found without running the model: layout, configuration and manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from serve_deploy.checking.language_model_rules import check_engine, engine_of, note_engine
from serve_deploy.checking.manifest_rules import check_files, check_served
from serve_deploy.manifest import MANIFEST_NAME
from serve_deploy.model_config import CONFIG_NAME, Problem, check_config, is_ensemble, named_config_path
from serve_deploy.model_config.backend_names import find_backend
from serve_deploy.model_config.problem import did_you_mean
from serve_deploy.model_config.rules.backends import note_parameters
from serve_deploy.model_config.rules.frameworks import note_framework
from serve_deploy.model_config.rules.state import check_state_traps
from serve_deploy.model_config.warmup import WARMUP_FOLDER
from serve_deploy.repository.model_folder import MODEL_FILES, REPORT_CUSTOM_METRICS, ModelFolder
from serve_deploy.tensors.types import DataType
from serve_deploy.triton.staging import judge_name, suggest_name


def check_folder(folder: ModelFolder) -> tuple[Problem, ...]:
    """Every rule that a model's folder breaks."""
    if not folder.is_model and not _loose_files(folder):
        fix = "move it out of the repository"
        return (Problem("", "Triton loads every folder as a model, and this is not a model", fix),)
    return (*(problem for rule in _RULES for problem in rule(folder)), *_check_named(folder))


def _check_named(folder: ModelFolder) -> Iterator[Problem]:
    """What is wrong with a configuration that is chosen by name: Triton does not fall back to config.pbtxt then."""
    for name in folder.named:
        under = folder.under(name)
        for problem in (*(each for rule in _NAMED_RULES for each in rule(under)), *check_served(under, exact=False)):
            yield replace(problem, field=f"{named_config_path(name)}: {problem.field}")


def note_folder(folder: ModelFolder, loaded_name: str = "") -> Iterator[str]:
    """What is not wrong with a model's folder, but worth knowing; `loaded_name` is that of the configuration loaded."""
    config, manifest = folder.config, folder.manifest
    if folder.is_model and CONFIG_NAME not in folder.errors and not is_ensemble(config) and config.backend != "vllm":
        guess = "and then decides by shapes alone whether the model batches"
        if folder.config_text is None:
            yield f"no {CONFIG_NAME}: Triton generates one, {guess}"
        elif not (config.input and config.output):
            yield f"inputs or outputs are not listed: Triton adds them, {guess}"
    for index, group in enumerate(config.instance_group):
        if group.count < 0:
            yield f"instance_group[{index}].count is {group.count}: Triton takes its default instead"
    yield from note_parameters(config)
    yield from note_framework(config)
    yield from _note_named(folder, loaded_name)
    if config.backend == "vllm" and not folder.reports_custom_metrics:
        yield f"Triton's metrics do not show vLLM's load; to scale on its own, add {REPORT_CUSTOM_METRICS}"
    yield from note_engine(folder)
    if manifest is None:
        return
    if manifest.language_model:
        yield f"never loaded when it was packaged: {manifest.language_model.not_verified}"
    elif manifest.framework and manifest.verification is None:
        yield f"never loaded when it was packaged: {manifest.framework.not_verified}"
    elif manifest.verification is None:
        yield "packaged without verification: its outputs were never compared with the model's own"
    unknown = {*folder.versions} - {document.version for document in (manifest, *manifest.other_versions)}
    if unknown:
        yield f"version {', '.join(map(str, sorted(unknown)))} is not in the manifest: serve did not package it"


def _note_named(folder: ModelFolder, loaded_name: str) -> Iterator[str]:
    read = [named_config_path(name) for name in folder.named if name != loaded_name]
    if loaded_name in folder.named:
        read.insert(0, CONFIG_NAME)
    if folder.named:
        yield f"read, not loaded: {', '.join(read)}"
    yield from _note_engines(folder, CONFIG_NAME)
    for name in folder.named:
        yield from _note_engines(folder.under(name), named_config_path(name))


def _note_engines(folder: ModelFolder, file: str) -> Iterator[str]:
    """Engines that versions would share: ONNX Runtime knows them by the names of nodes, not by their weights."""
    if folder.engine_cache and len(folder.served_versions) > 1:
        kept = f"{folder.engine_cache} keeps the TensorRT engines of several versions"
        yield f"{file}: {kept}: one can be given another's weights"


def _loose_files(folder: ModelFolder) -> list[str]:
    """Models that stand beside the version folders, where Triton does not look."""
    suffixes = {Path(name).suffix for name in MODEL_FILES.values()}
    if "" in folder.errors:
        return []
    return sorted(p.name for p in folder.path.iterdir() if p.suffix in suffixes and p.name != MANIFEST_NAME)


def _check_readable(folder: ModelFolder) -> Iterator[Problem]:
    for name, error in folder.errors.items():
        # The file's name stands beside the message: once is enough.
        message = error.message.removeprefix(str(folder.path / name)).lstrip(": ")
        yield Problem(name, message, error.hint or "make it readable")


def _check_name(folder: ModelFolder) -> Iterator[Problem]:
    reason = judge_name(folder.name)
    if reason and not folder.members:
        yield Problem("", reason, f"rename the folder, for example to {suggest_name(folder.name)}")


def _check_config(folder: ModelFolder) -> Iterator[Problem]:
    yield from check_config(folder.config, folder.name)
    yield from check_state_traps(folder.config)


def _check_backend(folder: ModelFolder) -> Iterator[Problem]:
    """A backend that only looks like one of Triton's; a model may bring its own library."""
    name = folder.config.backend
    meant = find_backend(name) if name else None
    own = [folder.path, *(folder.path / str(version) for version in folder.versions)]
    if meant and meant != name and not any((place / f"libtriton_{name}.so").exists() for place in own):
        yield Problem("backend", f"Triton has no backend '{name}'", f"did you mean '{meant}'?")


def _check_files_beside(folder: ModelFolder) -> Iterator[Problem]:
    """The files that the configuration names: labels, warm-up, initial state."""
    for index, tensor in enumerate(folder.config.output):
        name = tensor.label_filename
        if name and not (folder.path / name).is_file():
            there = [path.name for path in folder.path.iterdir() if path.is_file()]
            yield Problem(
                f"output[{index}].label_filename",
                f"the label file {name} is missing",
                did_you_mean(name, there) or "put it into the model's folder, one class name per line",
            )
    for index, warmup in enumerate(folder.config.model_warmup):
        for name, item in sorted(warmup.inputs.items()):
            if warmup.batch_size and item.input_data_file:
                file = f"{WARMUP_FOLDER}/{item.input_data_file}"
                yield from _check_data(folder, f"model_warmup[{index}].inputs", name, file, item)
    for index, state in enumerate(folder.config.sequence_batching.state):
        for initial in state.initial_state[:1]:
            if initial.data_file:
                where, file = f"sequence_batching.state[{index}].initial_state", f"initial_state/{initial.data_file}"
                yield from _check_data(folder, where, state.input_name, file, initial)


def _check_data(folder: ModelFolder, where: str, name: str, file: str, tensor: Any) -> Iterator[Problem]:
    """The file is there, and has the bytes of the tensor's type and dims; strings may be of any length."""
    path = folder.path / file
    if not path.is_file():
        yield Problem(where, f"{file}, the data of '{name}', is missing", "put it there")
        return
    from tritonclient.grpc.model_config_pb2 import DataType as ConfigType

    try:
        size = DataType.from_config_name(ConfigType.Name(tensor.data_type)).size_bytes
    except ValueError:
        return
    needed = prod(tensor.dims) * (size or 0)
    if path.stat().st_size < needed:
        yield Problem(
            where, f"{file} has {path.stat().st_size:,} bytes, '{name}' needs {needed:,}", "write all of them"
        )


def _check_versions(folder: ModelFolder) -> Iterator[Problem]:
    for entry in sorted(folder.path.iterdir()):
        if entry.is_dir() and re.fullmatch(r"0[0-9]+", entry.name):
            yield Problem(entry.name, "Triton ignores a version with a leading zero", f"rename it to {int(entry.name)}")
    if not folder.versions:
        yield Problem("", "there is no version folder", _fix_missing_version(folder))


def _check_policy(folder: ModelFolder) -> Iterator[Problem]:
    for version in folder.config.version_policy.specific.versions:
        if folder.versions and version not in folder.versions:
            yield Problem("version_policy", f"version {version} does not exist", "package it, or remove it here")


def _fix_missing_version(folder: ModelFolder) -> str:
    if is_ensemble(folder.config):
        return "make an empty folder 1/: an ensemble needs one too"
    loose = _loose_files(folder)
    return f"make a folder 1/ and move {loose[0]} there as {folder.file_name}" if loose else "put the model into 1/"


def _check_model_files(folder: ModelFolder) -> Iterator[Problem]:
    name = folder.file_name
    for version in () if engine_of(folder) == "tensorrtllm" else folder.missing_files:
        if (folder.path / str(version) / name).is_symlink():
            yield Problem(f"{version}/{name}", "it is a link to a file that is not there", "link to the model's file")
            continue
        others = [p.name for p in sorted((folder.path / str(version)).iterdir()) if p.suffix == Path(name).suffix]
        fix = f'rename {others[0]} to it, or write default_model_filename: "{others[0]}"' if others else "put it there"
        yield Problem(f"{version}/{name}", "the model's file is missing", fix)


_NAMED_RULES = (_check_config, _check_backend, _check_files_beside, _check_policy)
_RULES: tuple[Callable[[ModelFolder], Iterator[Problem]], ...] = (
    _check_readable,
    _check_name,
    _check_config,
    _check_backend,
    _check_files_beside,
    _check_policy,
    _check_versions,
    _check_model_files,
    check_engine,
    check_files,
    check_served,
)
