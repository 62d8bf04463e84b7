"""`serve check`: does every model of a repository load, and if not, why?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.checking.options import CheckOptions
from serve_deploy.errors import InvalidModelError

if TYPE_CHECKING:
    from serve_deploy.checking.repository_check import CheckedModel, RepositoryCheck

_RESULTS = {"well": "ok", "broken": "failed", "not_tried": "not tried"}


@takes_options(arguments=["repository"], flags={"release": "--triton"})
def check(options: CheckOptions, json: Json = False) -> None:
    """Check any model repository: load every model in a real Triton, and say what is wrong and how to fix it.

    \b
    serve check models
    serve check models --triton 24.10 --json
    """
    from serve_deploy.checking.repository_check import check_repository

    with output.progress() as progress:
        result = check_repository(options, progress=progress)
    output.emit(result, as_json=json, render=print_check)
    if result.broken:
        names = ", ".join(model.name for model in result.broken)
        models = "1 model" if len(result.models) == 1 else f"{len(result.models)} models"
        raise InvalidModelError(f"{len(result.broken)} of {models} failed the check: {names}")


def print_check(result: RepositoryCheck) -> None:
    """A table of all models, then what is wrong with each and how to fix it."""
    console = output.stdout()
    output.print_table(("model", "versions", "result", "state", "checked for"), [_row(each) for each in result.models])
    for model in result.models:
        for problem in model.problems:
            where = f"{model.name}: {problem.field}" if problem.field else model.name
            console.print(output.in_flags(f"{where}: {problem.message}\n  fix: {problem.fix}"), markup=False)
        for state in model.states:
            if state.state != "READY" and state.reason:
                console.print(f"{model.name}: Triton says: {state.reason}", markup=False)
        for note in model.notes:
            console.print(f"{model.name}: note: {note}", markup=False)
    if result.runtime:
        loaded = any(state.state == "READY" for model in result.models for state in model.states)
        said = "loaded" if loaded else "no model was loaded"
        console.print(f"{said} in Triton {result.triton_version} ({result.runtime})", markup=False)
    else:
        console.print("not loaded in Triton (--no-load)", markup=False)


def _row(model: CheckedModel) -> tuple[str, ...]:
    versions = ", ".join(map(str, model.versions))
    states = ", ".join(dict.fromkeys(state.state for state in model.states))
    return model.name, versions, _RESULTS[model.verdict], states, f"Triton {model.triton_release}"
