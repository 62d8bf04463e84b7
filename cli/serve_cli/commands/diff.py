"""`serve diff`: what a running Triton does with a changed repository, and whether clients break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.repository_changes.options import DiffOptions

if TYPE_CHECKING:
    from serve_deploy.repository_changes.change import ClientEffect, ModelChange, VersionChange
    from serve_deploy.repository_changes.comparison import RepositoryChanges

_ACTIONS = {
    "nothing": "nothing", "in_place": "changes instances in place", "versions": "changes versions", "reload": "reloads",
    "load": "loads", "unload": "unloads", "refuse": "refuses, keeps what it has", "take_down": "stops serving",
    "unknown": "not known",
}  # fmt: skip
_VERSION_SIGNS = {"kept": "", "loaded": "+", "reloaded": "↻", "unloaded": "-"}


@takes_options(arguments=["old", "new"])
def diff(options: DiffOptions, json: Json = False) -> None:
    """Say what a running Triton does with a changed repository, and whether its clients break.

    \b
    serve diff models-served models
    serve diff models-served models --fail-on reload --json
    serve diff http://localhost:8000 models
    """
    from serve_deploy.repository_changes.comparison import compare_repositories, require_acceptable

    with output.progress() as progress:
        progress(f"comparing {options.old} with {options.new}")
        changes = compare_repositories(options)
    output.emit(changes, as_json=json, render=print_changes)
    require_acceptable(changes, options.fail_on)


def print_changes(changes: RepositoryChanges) -> None:
    """A table of the models that change, then why, and what clients notice."""
    console, changed = output.stdout(), changes.changed
    if changed:
        output.print_table(("model", "Triton", "versions", "clients"), [_row(model) for model in changed])
    for model in changed:
        for reason in model.reasons:
            console.print(f"{model.name}: {reason}", markup=False)
        for effect in model.effects:
            console.print(f"{model.name}: {'BREAKS: ' if effect.breaking else ''}{_say(effect)}", markup=False)
    for model in changes.models:
        for note in model.notes:
            console.print(f"{model.name}: note: {note}", markup=False)
    same = len(changes.models) - len(changed)
    if same:
        console.print(f"{output.count(same, 'model')} unchanged" if changed else "nothing changes", markup=False)
    if changes.load or changes.unload:
        asked = [f"load {', '.join(changes.load)}"] * bool(changes.load)
        asked += [f"unload {', '.join(changes.unload)}"] * bool(changes.unload)
        console.print(f"in explicit mode, once it is asked to {' and to '.join(asked)}", markup=False)


def _say(effect: ClientEffect) -> str:
    """A tensor is the subject of what is said of it; any other field stands before a sentence."""
    is_subject = effect.field.startswith(("input ", "output ", "version "))
    return f"{effect.field}{' ' if is_subject else ': '}{effect.message}" if effect.field else effect.message


def _row(model: ModelChange) -> tuple[str, ...]:
    clients = "break" if model.breaks else "notice" if model.effects else "-"
    return model.name, _ACTIONS[model.action], _write_versions(model.versions), clients


def _write_versions(versions: tuple[VersionChange, ...]) -> str:
    return " ".join(f"{_VERSION_SIGNS[each.action]}{each.version}" for each in versions) or "-"
