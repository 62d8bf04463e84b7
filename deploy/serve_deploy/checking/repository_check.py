"""Check every model of a repository: by the rules, by its manifest, and in a real Triton that loads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from serve_deploy.checking.folder_rules import check_folder, note_folder
from serve_deploy.checking.framework_rules import check_artefacts
from serve_deploy.checking.language_model_rules import engine_of
from serve_deploy.checking.manifest_rules import note_members
from serve_deploy.checking.options import CheckOptions
from serve_deploy.endpoint.model import ModelState
from serve_deploy.errors import InvalidModelError, TritonStartError, UsageError
from serve_deploy.model_config import (
    Problem,
    check_against_model,
    check_ensemble_members,
    named_config_path,
    note_ensemble_requests,
)
from serve_deploy.model_config.rules.state import compare_states
from serve_deploy.progress import Progress, silent
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_folder import ModelFolder, list_folders, read_model_folder, require_repository
from serve_deploy.stores.address import StoreAddress
from serve_deploy.triton.lacking import explain_lack
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.staging import find_unservable_names

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel

_REFUSED = "Triton refuses it: "
Verdict = Literal["well", "broken", "not_tried"]


@dataclass(frozen=True)
class CheckedModel:
    """One model: what Triton says of each version, what is wrong and how to fix it, and what else is worth knowing.

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
    """All models of a repository, or of a store's snapshot; `runtime` is None where nothing was loaded."""

    repository: Path | str
    runtime: RuntimeName | None
    triton_version: str | None
    models: tuple[CheckedModel, ...]

    @property
    def broken(self) -> tuple[CheckedModel, ...]:
        """The models that failed."""
        return tuple(model for model in self.models if model.verdict == "broken")


@dataclass(frozen=True)
class _Loaded:
    """What a real Triton made of the repository, all but the models that were left out."""

    runtime: RuntimeName
    version: str
    states: tuple[ModelState, ...]
    left_out: tuple[str, ...] = ()
    config_name: str = ""


def check_repository(options: CheckOptions, *, progress: Progress = silent) -> RepositoryCheck:
    """Check every model folder, and load all of them in a real Triton unless `load` is off.

    UsageError where the folder is not a repository; TritonStartError where no Triton starts.
    """
    repository = _require_folder(options)
    progress(f"reading {repository}")
    folders = {path.name: read_model_folder(path) for path in list_folders(repository)}
    _require_models(repository, folders)
    loaded = _load(options, repository, folders, progress) if options.load else None
    models: dict[str, CheckedModel] = {}
    for name, folder in folders.items():
        progress(f"checking {name}")
        packaged_for = folder.manifest.triton_release if folder.manifest else DEFAULT_RELEASE
        models[name] = _check_model(folder, options.release or packaged_for, folders, loaded)
    checked = tuple(_excuse_dependant(folders[name], models) for name in models)
    return RepositoryCheck(repository, loaded.runtime if loaded else None, loaded.version if loaded else None, checked)


def _require_folder(options: CheckOptions) -> Path:
    if isinstance(options.repository, StoreAddress):
        raise UsageError(f"{options.repository} is a store", hint="check_store checks it")
    for name, is_given in (("download", options.download), ("url", options.url is not None)):
        if is_given:
            raise UsageError(
                f"`{name}` is for stores, and {options.repository} is a folder",
                hint="serve diff URL REPOSITORY compares a running Triton with a folder",
            )
    return options.repository


def _require_models(repository: Path, folders: Mapping[str, ModelFolder]) -> None:
    require_repository(repository)
    if not any(folder.is_model for folder in folders.values()):
        raise UsageError(f"{repository} contains no models", hint="serve package MODEL.onnx -o DIR writes a repository")


def _load(options: CheckOptions, repository: Path, folders: Mapping[str, ModelFolder], progress: Progress) -> _Loaded:
    # Triton waits forever for a Python model without its model.py, or with a name that crashes its process.
    hanging = {f.name for f in folders.values() if f.file_name == "model.py" and f.missing_files}
    hanging |= find_unservable_names(repository).keys()
    hanging |= {name for name, folder in folders.items() if engine_of(folder) == "tensorrtllm"}
    try:
        return _start(options, repository, folders, hanging, progress)
    except TritonStartError:
        # A model that Triton refuses can take the whole server down with it (seen with 2.51).
        wrong = {f.name for f in folders.values() if check_folder(f) or _check_members(f, folders)}
        if not wrong - hanging:
            raise
        loaded = _start(options, repository, folders, wrong | hanging, progress)
        return replace(loaded, left_out=tuple(sorted(wrong)))


def _start(
    options: CheckOptions, repository: Path, folders: Mapping[str, ModelFolder], without: set[str], progress: Progress
) -> _Loaded:
    from serve_deploy.triton import start_server

    server_options = ServerOptions(
        repository=repository, runtime=options.runtime, model_config_name=options.model_config_name
    )
    if without:
        names = tuple(name for name in folders if name not in without)
        server_options = replace(server_options, explicit=True, models=names)
    with start_server(server_options, progress=progress) as server:
        states = tuple(state for state in server.model_states() if state.name not in without)
        return _Loaded(server.runtime, server.version, states, config_name=options.model_config_name)


def _check_model(
    folder: ModelFolder, release: str, folders: Mapping[str, ModelFolder], loaded: _Loaded | None
) -> CheckedModel:
    problems = [*check_folder(folder), *_check_release(folder, release), *_check_members(folder, folders)]
    artefacts = check_artefacts(folder, release)
    problems += artefacts.problems
    states = tuple(state for state in loaded.states if state.name == folder.name) if loaded else ()
    refused = [state for state in states if state.state != "READY"]
    marked = (words for state in refused if (words := explain_lack(state.reason)))
    # What an ensemble is refused for quotes the reasons of its members.
    lacks = None if problems or folder.members else next(marked, None)
    if loaded and not problems and engine_of(folder) == "tensorrtllm":
        lacks = "it needs TensorRT-LLM and a GPU"
    problems += _compare_with_model(folder, own=loaded is None or (bool(refused) and not lacks))
    if loaded and not lacks and not problems:
        problems += _explain_refusal(states, refused)
    verdict: Verdict = "broken" if problems else "not_tried" if lacks or loaded is None else "well"
    configs = {name: other.config for name, other in folders.items()}
    notes = [
        *note_folder(folder, loaded.config_name if loaded else ""),
        *artefacts.notes,
        *_note_needs(folder),
        *note_ensemble_requests(folder.config, configs),
        *note_members(folder, folders),
    ]
    if lacks:
        notes.append(f"not tried here: {lacks}")
    if loaded and folder.name in loaded.left_out:
        notes.append("Triton ended at start; the other models were loaded without this one")
    return CheckedModel(
        folder.name, release, folder.versions, verdict, states, tuple(dict.fromkeys(problems)), tuple(notes)
    )


def _check_members(folder: ModelFolder, folders: Mapping[str, ModelFolder]) -> list[Problem]:
    """An ensemble and its members, as config.pbtxt has them and under each name that one of them has a file for."""
    if not folder.members:
        return []
    problems = list(_check_together(folder, folders))
    named = {
        name for each in (folder.name, *folder.members) for name in (folders[each].named if each in folders else ())
    }
    for name in sorted(named):
        under = {each: other.under(name) for each, other in folders.items()}
        for problem in _check_together(under[folder.name], under):
            if problem not in problems:
                problems.append(replace(problem, field=f"with --model-config-name={name}: {problem.field}"))
    return problems


def _check_together(folder: ModelFolder, folders: Mapping[str, ModelFolder]) -> Iterator[Problem]:
    models = {name: other.config for name, other in folders.items() if other.is_model}
    served = {name: other.served_versions for name, other in folders.items()}
    yield from check_ensemble_members(folder.name, folder.config, models, served)


def _check_release(folder: ModelFolder, release: str) -> Iterator[Problem]:
    from serve_deploy.onnx.model import read_model
    from serve_deploy.releases import check_data_types, check_release

    for file in folder.onnx_files:
        try:
            model = read_model(file)
            error = (
                check_release(release, model.ir_version, model.opsets)
                or check_data_types(release, model.signature)
                or _check_operators(folder, model, release)
            )
        except InvalidModelError as unreadable:
            error = unreadable
        if error is not None:
            yield _file_problem(folder, file, error)


def _note_needs(folder: ModelFolder) -> tuple[str, ...]:
    try:
        return folder.needs
    except InvalidModelError:
        return ()  # said already by the release's check, which reads the same files


def _check_operators(folder: ModelFolder, model: OnnxModel, release: str) -> InvalidModelError | None:
    """Operators that the release has no CPU kernel for, unless the model is configured for GPUs alone."""
    from serve_deploy.onnx.model import parse_proto
    from serve_deploy.onnx.operator_uses import list_operator_uses
    from serve_deploy.releases import check_operators

    groups = folder.config.instance_group
    if groups and all(group.kind == group.KIND_GPU for group in groups):
        return None
    if folder.manifest is not None and folder.manifest.runs_every_operator is False:
        return None  # packaged so, without being run
    uses = list_operator_uses(parse_proto(model.path))
    return check_operators(release, uses, ir_version=model.ir_version, opsets=model.opsets)


def _compare_with_model(folder: ModelFolder, *, own: bool) -> Iterator[Problem]:
    """What ONNX Runtime reports of the newest version against the configurations; `own` is config.pbtxt."""
    from serve_deploy.onnx.session import open_model

    keeps_state = bool(folder.config.sequence_batching.state)  # which Triton compares with nothing
    if not folder.onnx_files or not (own or folder.named or keeps_state):
        return
    file = folder.onnx_files[-1]
    try:
        signature = open_model(file, prepack=False).signature
    except InvalidModelError as error:
        if own:
            yield _file_problem(folder, file, error)
        return
    if own:
        yield from check_against_model(folder.config, signature)
    yield from compare_states(folder.config, signature)
    for name in folder.named:
        for problem in check_against_model(folder.under(name).config, signature):
            yield replace(problem, field=f"{named_config_path(name)}: {problem.field}")


def _file_problem(folder: ModelFolder, file: Path, error: InvalidModelError) -> Problem:
    return Problem(file.relative_to(folder.path).as_posix(), error.message, error.hint or "export the model again")


def _explain_refusal(states: Sequence[ModelState], refused: Sequence[ModelState]) -> Iterator[Problem]:
    """Triton's own words, where no rule explains them."""
    for state in refused:
        yield Problem(f"version {state.version or '?'}", f"{_REFUSED}{state.reason}", "change what Triton names")
    if not states:
        yield Problem("", "Triton does not list it", "check the permissions of the folder")


def _excuse_dependant(folder: ModelFolder, models: Mapping[str, CheckedModel]) -> CheckedModel:
    """An ensemble that Triton refuses only because of its members is not itself at fault."""
    model = models[folder.name]
    culprits = [member for member in folder.members if member in models and models[member].verdict != "well"]
    only_refused = all(problem.message.startswith(_REFUSED) for problem in model.problems)
    if model.verdict != "broken" or not culprits or not only_refused:
        return model
    note = f"not tried here: it runs {', '.join(culprits)}, which did not load"
    return replace(model, verdict="not_tried", problems=(), notes=(*model.notes, note))
