"""Compare two model repositories: `serve diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import InvalidModelError, ThresholdError, UsageError
from serve_deploy.model_config import CONFIG_NAME, parse_config
from serve_deploy.model_config.ensemble_graph import is_decoupled
from serve_deploy.repository.model_folder import ModelFolder, list_folders, read_model_folder
from serve_deploy.repository_changes.change import ClientEffect, ModelChange, TritonPlan
from serve_deploy.repository_changes.client_effects import ClientView, list_effects
from serve_deploy.repository_changes.client_view import view_model
from serve_deploy.repository_changes.file_changes import FileChanges, compare_files
from serve_deploy.repository_changes.options import DiffOptions, FailOn
from serve_deploy.repository_changes.running_server import plan_served, read_served
from serve_deploy.repository_changes.triton_plans import plan_models

_GONE = ClientEffect(True, "", "it is not served any more: requests get 404")
_RELOADING = ("reload", "refuse", "take_down")


@dataclass(frozen=True)
class RepositoryChanges:
    """Every model of either side; in explicit mode Triton acts once it is asked to `load` or `unload` these."""

    old: str
    new: Path
    models: tuple[ModelChange, ...]
    load: tuple[str, ...]
    unload: tuple[str, ...]

    @property
    def breaking(self) -> tuple[ModelChange, ...]:
        """The models whose clients break."""
        return tuple(model for model in self.models if model.breaks)

    @property
    def changed(self) -> tuple[ModelChange, ...]:
        """The models with which Triton does anything, or whose clients notice anything."""
        return tuple(model for model in self.models if model.action not in ("nothing", "unknown") or model.effects)


def compare_repositories(options: DiffOptions) -> RepositoryChanges:
    """Read both repositories, and say what a Triton that serves the old one does with the new one.

    Of a running server only what its API tells is compared: what is new, gone or refused, and what clients notice.
    UsageError where one of them is no repository, or only one is a single model's folder; EndpointError where the
    server does not answer.
    """
    if "://" in str(options.old):
        return _compare_with_server(options)
    old, new = _read(Path(options.old), options), _read(options.new, options)
    _require_models((*old.values(), *new.values()), options)
    models = [path for path in (Path(options.old), options.new) if _is_model(path)]
    if len(models) == 2:
        name = options.new.resolve().name
        old, new = ({name: _without_name(*each.values())} for each in (old, new))
    elif models:
        raise UsageError(
            f"{models[0]} is a model's folder, but the other one is a repository",
            hint="name two repositories, or two models",
        )
    files = {name: _compare(old[name], new[name], options) for name in old.keys() & new.keys()}
    plans = plan_models(old, new, files)
    changes = tuple(_describe(name, plan, old, new, files) for name, plan in plans.items())
    asked = [n for n, plan in plans.items() if n not in files or files[n].are_any or plan.action == "load"]
    return RepositoryChanges(
        str(options.old),
        options.new,
        changes,
        load=tuple(name for name in asked if name in new and plans[name].action not in ("nothing", "refuse")),
        unload=tuple(name for name in asked if plans[name].action == "unload"),
    )


def _compare_with_server(options: DiffOptions) -> RepositoryChanges:
    if _is_model(options.new):
        raise UsageError(f"{options.new} is a model's folder", hint="compare a running Triton with a repository")
    url = str(options.old)
    old, new = read_served(url), _read(options.new, options)
    plans = plan_served(old, new)
    changes = tuple(_describe(name, plan, old, new, {}) for name, plan in plans.items())
    load, unload = (tuple(name for name, plan in plans.items() if plan.action == each) for each in ("load", "unload"))
    return RepositoryChanges(url, options.new, changes, load, unload)


def require_acceptable(changes: RepositoryChanges, fail_on: FailOn) -> None:
    """Raise ThresholdError where the change does what `fail_on` names."""
    names = ", ".join(model.name for model in changes.breaking)
    if fail_on != "never" and changes.breaking:
        raise ThresholdError(f"clients break: {names}", hint="`fail_on=never` only reports")
    refused = ", ".join(model.name for model in changes.models if model.action == "refuse")
    if fail_on != "never" and refused:
        raise ThresholdError(f"Triton refuses: {refused}", hint="serve check says how to fix it")
    acted = [
        model.name
        for model in changes.models
        if model.action in _RELOADING or (model.action not in ("nothing", "unknown") and fail_on == "change")
    ]
    if fail_on in ("reload", "change") and acted:
        raise ThresholdError(
            f"Triton does not leave as it is: {', '.join(acted)}",
            hint="`fail_on=breaking` allows what breaks no client",
        )


def _require_models(folders: Sequence[ModelFolder], options: DiffOptions) -> None:
    """UsageError where there is nothing to compare, or nothing under the name that was given."""
    if not folders:
        raise UsageError(
            f"neither {options.old} nor {options.new} contains a model", hint="name two model repositories"
        )
    name = options.model_config_name
    if name and not any(_config_file(folder, name) != CONFIG_NAME for folder in folders):
        raise UsageError(f"`model_config_name={name}`: no model has configs/{name}.pbtxt", hint="check the name")


def _is_model(path: Path) -> bool:
    return (path / CONFIG_NAME).exists() or (path.is_dir() and any(each.name.isdigit() for each in path.iterdir()))


def _without_name(folder: ModelFolder) -> ModelFolder:
    """The same model in whatever folder."""
    config = type(folder.config)()
    config.CopyFrom(folder.config)
    config.ClearField("name")
    return replace(folder, config=config)


def _read(path: Path, options: DiffOptions) -> dict[str, ModelFolder]:
    folders = [path.resolve()] if _is_model(path) else [each for each in list_folders(path) if each.name[0] != "."]
    read = (_with_config(read_model_folder(folder), options.model_config_name) for folder in folders)
    return {folder.name: folder for folder in read if folder.is_model}


def _config_file(folder: ModelFolder, config_name: str | None) -> str:
    named = f"configs/{config_name}.pbtxt"
    return named if config_name and (folder.path / named).exists() else CONFIG_NAME


def _with_config(folder: ModelFolder, config_name: str | None) -> ModelFolder:
    name = _config_file(folder, config_name)
    if name == CONFIG_NAME:
        return folder
    path = folder.path / name
    errors = {file: error for file, error in folder.errors.items() if file != CONFIG_NAME}
    try:
        text = path.read_text(encoding="utf-8")
        return replace(folder, config_text=text, config=parse_config(text, path), errors=errors)
    except InvalidModelError as error:
        return replace(folder, errors={**errors, name: error})


def _compare(old: ModelFolder, new: ModelFolder, options: DiffOptions) -> FileChanges:
    files = compare_files(old.path, new.path, _config_file(new, options.model_config_name))
    return replace(files, all_newer=options.replaced and files.are_any)


def _describe(
    name: str,
    plan: TritonPlan,
    old: Mapping[str, ModelFolder],
    new: Mapping[str, ModelFolder],
    files: Mapping[str, FileChanges],
) -> ModelChange:
    effects: tuple[ClientEffect, ...] = ()
    notes: tuple[str, ...] = ()
    if plan.action in ("unload", "take_down"):
        effects = (_GONE,)
    elif name in old and plan.action not in ("refuse", "load"):
        before, after = _view(name, old), _view(name, new)
        if plan.action == "unknown":
            after = replace(after, labels={})  # those that the server has are not known either
        effects = (*list_effects(before, after), *_list_new_answers(plan, files.get(name, FileChanges())))
        if before.inputs is None or after.inputs is None:
            notes = ("its tensors are not in the configuration, so they were not compared",)
    return ModelChange(name, plan.action, plan.reasons, plan.versions, effects, notes)


def _view(name: str, folders: Mapping[str, ModelFolder]) -> ClientView:
    configs = {each: folder.config for each, folder in folders.items()}
    return view_model(folders[name], is_decoupled=is_decoupled(name, configs))


def _list_new_answers(plan: TritonPlan, files: FileChanges) -> Iterator[ClientEffect]:
    for each in plan.versions:
        if each.action == "reloaded" and files.versions.get(each.version):
            yield ClientEffect(False, f"version {each.version}", "has other files, so its answers may differ")
