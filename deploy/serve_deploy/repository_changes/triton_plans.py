"""What a running Triton does with each model of a changed repository. Pure.

Source: core, model_repository_manager.cc (Poll, UpdateGraph, CheckNode), model_lifecycle.cc (AsyncLoad, OnLoadFinal).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from serve_deploy.model_config import check_config, check_ensemble_members, is_ensemble
from serve_deploy.model_config.ensemble_graph import check_ensemble_cycle
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository_changes.change import TritonPlan, VersionAction, VersionChange
from serve_deploy.repository_changes.file_changes import FileChanges
from serve_deploy.repository_changes.normal_config import list_differences, needs_reload, normalize

_MOST_NAMES = 3
Folders = Mapping[str, ModelFolder]


def plan_models(old: Folders, new: Folders, files: Mapping[str, FileChanges]) -> dict[str, TritonPlan]:
    """The plan of every model of either repository; `files` has the models that both have."""
    planner = _Planner(old, new, files)
    return {name: planner.plan(name) for name in sorted(old.keys() | new.keys())}


@dataclass
class _Planner:
    old: Folders
    new: Folders
    files: Mapping[str, FileChanges]
    _plans: dict[str, TritonPlan] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def plan(self, name: str) -> TritonPlan:
        if name not in self._plans:
            self._asked.add(name)
            self._plans[name] = self._plan(name)
        return self._plans[name]

    def _plan(self, name: str) -> TritonPlan:
        was_served = self._was_served(name)
        if name not in self.new:
            return self._unload(name, was_served)
        folder = self.new[name]
        own = self.files[name].are_any if name in self.old else True
        moved = self._moved_members(folder)
        if was_served and not own and not moved:
            return TritonPlan("nothing", (), _keep(folder.served_versions))
        before = self.old[name].served_versions if was_served else ()
        refused = tuple(explain_refusal(folder)) if own or not was_served else ()
        if refused:
            return TritonPlan("refuse", refused, _keep(before))
        if is_ensemble(folder.config):
            return self._plan_ensemble(folder, before, own=own, moved=moved)
        if not was_served:
            return TritonPlan("load", ("it is new" if name not in self.old else "it could not be loaded before",),
                              _change(before, folder.served_versions, ()))  # fmt: skip
        return _plan_change(self.old[name], folder, self.files[name])

    def _was_served(self, name: str) -> bool:
        folder = self.old.get(name)
        if folder is None or any(explain_refusal(folder)):
            return False
        return not is_ensemble(folder.config) or not any(_explain_members(folder, self.old))

    def _unload(self, name: str, was_served: bool) -> TritonPlan:
        if not was_served:
            return TritonPlan("nothing", ("it is gone, and could not be loaded before",))
        return TritonPlan("unload", ("it is gone",), _change(self.old[name].served_versions, (), ()))

    def _moved_members(self, folder: ModelFolder) -> tuple[str, ...]:
        """The members in whose folders Triton sees a change, or which it loads again."""
        return tuple(name for name in folder.members if not self._is_above(name) and self._is_moved(name))

    def _is_above(self, name: str) -> bool:
        """Whether it is an ensemble that is being planned and runs this one."""
        return name in self._asked and name not in self._plans

    def _is_moved(self, name: str) -> bool:
        plan = self.plan(name)
        if plan.action == "refuse" and any(_explain_poll(self.new[name])):
            return False  # what Triton cannot read counts as unchanged
        return plan.action != "nothing" or (name in self.files and self.files[name].are_any)

    def _plan_ensemble(
        self, folder: ModelFolder, before: tuple[int, ...], *, own: bool, moved: tuple[str, ...]
    ) -> TritonPlan:
        serving = {name: each for name, each in self.new.items() if name == folder.name or self._serves(name)}
        # What Triton refuses keeps serving as it was.
        kept = {
            name: self.old[name] for name in serving if name in self._plans and self._plans[name].action == "refuse"
        }
        wrong = tuple(_explain_members(folder, {**serving, **kept}))
        if wrong:
            return TritonPlan("take_down" if before else "refuse", wrong, _change(before, (), ()))
        why = (*(["its own files changed"] if own and before else []), *(_name(moved, "changed") if moved else ()))
        after = folder.served_versions
        if not before:
            return TritonPlan("load", ("it is new" if folder.name not in self.old else "its members are there now",),
                              _change((), after, ()))  # fmt: skip
        return TritonPlan("reload", why, _change(before, after, after))

    def _serves(self, name: str) -> bool:
        if self._is_above(name):
            return True
        plan = self.plan(name)
        return any(each.action != "unloaded" for each in plan.versions)


def explain_refusal(folder: ModelFolder) -> Iterator[str]:
    """Why Triton cannot load a model whatever the others are, as far as its files show it."""
    yield from _explain_poll(folder)
    if not folder.served_versions:
        yield "its version policy serves none of its versions" if folder.versions else "it has no version"
    for version in folder.served_versions:
        if version in folder.missing_files:
            yield f"version {version} has no {folder.file_name}"


def _explain_poll(folder: ModelFolder) -> Iterator[str]:
    for file, error in folder.errors.items():
        if file != "manifest.json":
            yield error.message.removeprefix(f"{folder.path}/")
    for problem in check_config(folder.config, folder.name):
        yield f"{problem.field}: {problem.message}"


def _explain_members(folder: ModelFolder, models: Folders) -> Iterator[str]:
    configs = {name: each.config for name, each in models.items()}
    served = {name: each.served_versions for name, each in models.items()}
    for problem in check_ensemble_members(folder.name, folder.config, configs, served):
        yield f"{problem.field}: {problem.message}"
    for problem in check_ensemble_cycle(folder.name, folder.config, configs):
        yield f"{problem.field}: {problem.message}"


def _plan_change(old: ModelFolder, new: ModelFolder, files: FileChanges) -> TritonPlan:
    """What Triton does with a model that it serves and that is no ensemble."""
    before, after = old.served_versions, new.served_versions
    differences = list_differences(
        normalize(old.config, new.name, old.file_name), normalize(new.config, new.name, new.file_name)
    )
    fields = needs_reload(differences)
    newer = tuple(version for version, paths in files.versions.items() if paths and version in after)
    everything = bool(fields or files.shared or files.all_newer)
    versions = _change(before, after, after if everything else newer)
    actions = {each.action for each in versions}
    if "reloaded" in actions:
        reasons = [*_name(fields, "changed in the configuration"), *_name(files.shared, "changed")]
        reasons += ["its folder is replaced"] if files.all_newer and not (fields or files.shared) else []
        reasons += [f"version {version} has other files" for version in newer if not everything]
        return TritonPlan("reload", tuple(reasons), versions)
    in_place = ("the instance groups changed",) if "instance_group" in differences else ()
    if actions - {"kept"}:
        return TritonPlan("versions", (*_explain_versions(old, new), *in_place), versions)
    if in_place:
        return TritonPlan("in_place", in_place, versions)
    return TritonPlan("nothing", ("only files changed that it does not load again for",), versions)


def _explain_versions(old: ModelFolder, new: ModelFolder) -> Iterator[str]:
    if old.versions != new.versions:
        yield "its version folders changed"
    if old.config.version_policy != new.config.version_policy:
        yield "its version policy changed"


def _name(names: tuple[str, ...], what: str) -> list[str]:
    if not names:
        return []
    more = len(names) - _MOST_NAMES
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return [f"{listed} {what}"]


def _keep(versions: tuple[int, ...]) -> tuple[VersionChange, ...]:
    return tuple(VersionChange(version, "kept") for version in versions)


def _change(before: tuple[int, ...], after: tuple[int, ...], again: tuple[int, ...]) -> tuple[VersionChange, ...]:
    def action(version: int) -> VersionAction:
        if version not in after:
            return "unloaded"
        if version not in before:
            return "loaded"
        return "reloaded" if version in again else "kept"

    return tuple(VersionChange(version, action(version)) for version in sorted({*before, *after}))
