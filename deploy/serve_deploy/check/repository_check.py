"""Is every model of a repository well: by the rules, by its manifest, and by a real Triton that loads it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from serve_deploy.check.model_folder import ModelFolder, read_model_folder
from serve_deploy.endpoint.control import ModelState
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.files.staging import STAGING_PREFIX
from serve_deploy.model_config import (
    CONFIG_NAME,
    Problem,
    check_against_model,
    check_ensemble_members,
    is_ensemble,
)
from serve_deploy.progress import Progress, silent
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.triton.options import RuntimeName, ServerOptions

_START_SECONDS = 600.0
Verdict = Literal["well", "broken", "not_tried"]
# What Triton says where this machine's Triton lacks something that the production container has.
_LACKS = (
    ("unable to find backend library", "this machine's Triton has no such backend"),
    ("needs the native onnxruntime backend", "only the native ONNX Runtime backend of the container can do it"),
    ("has kind KIND_GPU but", "there is no GPU here"),
    ("openvino", "this machine's Triton has no OpenVINO"),
)


@dataclass(frozen=True)
class CheckedModel:
    """One model: what Triton says of each version, what is wrong with the mend, and what else is worth knowing.

    `triton_release` is the one that it was checked for: the one asked for, else the one it was packaged for.
    """

    name: str
    triton_release: str
    versions: tuple[int, ...]
    verdict: Verdict
    states: tuple[ModelState, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RepositoryCheck:
    """All models of a repository; `runtime` and `triton_version` are None where nothing was loaded."""

    repository: Path
    runtime: RuntimeName | None
    triton_version: str | None
    models: tuple[CheckedModel, ...]

    @property
    def broken(self) -> tuple[CheckedModel, ...]:
        return tuple(model for model in self.models if model.verdict == "broken")


def check_repository(
    repository: Path,
    *,
    release: str | None = None,
    load: bool = True,
    runtime: RuntimeName | None = None,
    progress: Progress = silent,
) -> RepositoryCheck:
    """Check every model folder, and load all of them in a real Triton unless `load` is off.

    UsageError where the folder is no repository; TritonStartError where there is no Triton.
    """
    folders = _read_folders(repository, progress)
    states, ran, version = _load(repository, folders, runtime, progress) if load else ((), None, None)
    configs = {folder.name: folder.config for folder in folders if folder.config is not None}
    models: dict[str, CheckedModel] = {}
    for folder in folders:
        progress(f"checking {folder.name}")
        own = tuple(state for state in states if state.name == folder.name)
        target = release or (folder.manifest.triton_release if folder.manifest else DEFAULT_RELEASE)
        problems = (*folder.problems, *_check_release(folder, target), *_check_ensemble(folder, configs))
        models[folder.name] = _judge(folder, target, own, problems, loaded=load)
    return RepositoryCheck(repository, ran, version, tuple(_excuse_dependants(models, configs)))


def _read_folders(repository: Path, progress: Progress) -> list[ModelFolder]:
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder", hint="name the model repository")
    if (repository / CONFIG_NAME).exists():
        raise UsageError(
            f"{repository} is a model's folder, not a repository",
            hint=f"check the folder around it: serve check {repository.parent}",
        )
    folders = []
    for path in sorted(repository.iterdir()):
        if path.is_dir() and not path.name.startswith(STAGING_PREFIX):
            progress(f"reading {path.name}")
            folders.append(read_model_folder(path))
    if not any(folder.versions or folder.config is not None for folder in folders):
        raise UsageError(f"{repository} holds no models", hint="serve package MODEL.onnx -o DIR makes a repository")
    return folders


def _load(
    repository: Path, folders: list[ModelFolder], runtime: RuntimeName | None, progress: Progress
) -> tuple[tuple[ModelState, ...], RuntimeName, str]:
    from serve_deploy.triton import start_server

    # Triton waits forever for a Python model without its model.py.
    hangs = [folder.name for folder in folders if folder.file_name == "model.py" and folder.lacks_files]
    options = ServerOptions(repository=repository)
    if hangs:
        names = tuple(folder.name for folder in folders if folder.name not in hangs)
        options = replace(options, control_mode="explicit", models=names)
    with start_server(options, runtime=runtime, startup_timeout_seconds=_START_SECONDS, progress=progress) as server:
        return server.model_states(), server.runtime, server.version


def _check_release(folder: ModelFolder, release: str) -> Iterator[Problem]:
    from serve_deploy.onnx.model import read_model
    from serve_deploy.releases import check_data_types, check_release

    for file in folder.onnx_files:
        where = file.relative_to(folder.path).as_posix()
        try:
            model = read_model(file)
        except InvalidModelError as error:
            yield Problem(where, error.message, error.hint or "export the model again")
            continue
        refusal = check_release(release, model.ir_version, model.opsets) or check_data_types(release, model.signature)
        if refusal is not None:
            yield Problem(where, refusal.message, refusal.hint or "choose a newer release")


def _check_ensemble(folder: ModelFolder, configs: Mapping[str, Any]) -> Iterator[Problem]:
    if folder.config is not None and is_ensemble(folder.config):
        others = {name: config for name, config in configs.items() if name != folder.name}
        yield from check_ensemble_members(folder.config, others)


def _judge(
    folder: ModelFolder, release: str, states: tuple[ModelState, ...], problems: tuple[Problem, ...], *, loaded: bool
) -> CheckedModel:
    refused = [state for state in states if state.state != "READY"]
    lacks = next((words for state in refused for mark, words in _LACKS if mark in state.reason), None)
    if (refused and not lacks) or not loaded:
        problems = (*problems, *_compare_with_model(folder))
    if refused and not lacks and not problems:
        problems = tuple(
            Problem(f"version {state.version or '?'}", f"Triton refuses it: {state.reason}", "see Triton's words")
            for state in refused
        )
    if loaded and not states and not problems:
        problems = (Problem("", "Triton does not list it", "check the rights of the folder"),)
    verdict: Verdict = "broken" if problems else "not_tried" if lacks or not loaded else "well"
    notes = (*folder.notes, f"not tried here: {lacks}") if lacks else folder.notes
    return CheckedModel(folder.name, release, folder.versions, verdict, states, problems, notes)


def _compare_with_model(folder: ModelFolder) -> Iterator[Problem]:
    """What ONNX Runtime reports of the newest version against the configuration; silent where it does not load."""
    from serve_deploy.onnx.session import open_model

    if folder.config is None or not folder.onnx_files:
        return
    try:
        signature = open_model(folder.onnx_files[-1]).signature
    except InvalidModelError as error:
        yield Problem(folder.onnx_files[-1].relative_to(folder.path).as_posix(), error.message, error.hint or "")
        return
    yield from check_against_model(folder.config, signature)


def _excuse_dependants(models: Mapping[str, CheckedModel], configs: Mapping[str, Any]) -> Iterator[CheckedModel]:
    """An ensemble that Triton refuses only because of its models is not itself to blame."""
    for name, model in models.items():
        config = configs.get(name)
        steps = [step.model_name for step in config.ensemble_scheduling.step] if config is not None else []
        culprits = [step for step in steps if step in models and models[step].verdict != "well"]
        only_triton = all("Triton refuses it" in problem.message for problem in model.problems)
        if model.verdict == "broken" and culprits and only_triton:
            note = f"not tried here: it runs {', '.join(culprits)}, which did not load"
            yield replace(model, verdict="not_tried", problems=(), notes=(*model.notes, note))
        else:
            yield model
