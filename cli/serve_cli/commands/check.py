"""`serve check`: is every model of a repository well?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import Json, Release, Repository
from serve_cli.package_options import Runtime, read_runtime
from serve_deploy.errors import InvalidModelError

if TYPE_CHECKING:
    from serve_deploy.check.repository_check import CheckedModel, RepositoryCheck

NoLoad = Annotated[bool, typer.Option("--no-load", help="Only read the files: start no Triton.")]


def check(
    repository: Repository,
    triton: Release = None,
    runtime: Runtime = None,
    no_load: NoLoad = False,
    json: Json = False,
) -> None:
    """Check a model repository, whoever wrote it: load every model in a real Triton, and explain what is wrong.

    \b
    serve check models
    serve check models --triton 24.10 --json
    """
    from serve_deploy.check.repository_check import check_repository

    with output.progress() as progress:
        result = check_repository(
            repository,
            release=triton,
            load=not no_load,
            runtime=read_runtime(runtime),
            progress=progress,
        )
    output.emit(result, as_json=json, render=print_check)
    if result.broken:
        names = ", ".join(model.name for model in result.broken)
        raise InvalidModelError(f"{len(result.broken)} of {len(result.models)} models are not well: {names}")


def print_check(result: RepositoryCheck) -> None:
    """A table of all models, then what is wrong with each and the mend."""
    console = output.stdout()
    output.print_table(
        ("model", "versions", "result", "state", "checked for"), [_row(model) for model in result.models]
    )
    for model in result.models:
        for problem in model.problems:
            where = f"{model.name}: {problem.field}: " if problem.field else f"{model.name}: "
            console.print(f"{where}{problem.message}\n  mend: {problem.mend}", markup=False)
        for state in model.states:
            if state.state != "READY" and state.reason:
                console.print(f"{model.name}: Triton says: {state.reason}", markup=False)
        for note in model.notes:
            console.print(f"{model.name}: note: {note}", markup=False)
    loaded = (
        f"loaded in Triton {result.triton_version} ({result.runtime})" if result.runtime else "not loaded: --no-load"
    )
    console.print(loaded, markup=False)


def _row(model: CheckedModel) -> tuple[str, ...]:
    versions = ", ".join(map(str, model.versions))
    states = ", ".join(dict.fromkeys(state.state for state in model.states))
    return model.name, versions, model.verdict.replace("_", " "), states, f"Triton {model.triton_release}"
