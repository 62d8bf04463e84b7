"""`serve check`: does every model of a repository load, and if not, why?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.checking.options import CheckOptions
from serve_deploy.errors import InvalidModelError, VerificationError
from serve_deploy.stores.address import StoreAddress

if TYPE_CHECKING:
    from serve_deploy.checking.repository_check import CheckedModel, RepositoryCheck
    from serve_deploy.checking.served_snapshot import ServedSnapshot
    from serve_deploy.checking.store_check import StoreCheck

_RESULTS = {"well": "ok", "broken": "failed", "not_tried": "not tried"}


@takes_options(arguments=["repository"], flags={"release": "--triton"})
def check(options: CheckOptions, json: Json = False) -> None:
    """Check any model repository: load every model in a real Triton, and say what is wrong and how to fix it.

    \b
    serve check models
    serve check models --triton 24.10 --json
    serve check s3://bucket/models
    serve check s3://bucket/models --url http://localhost:8000
    """
    if isinstance(options.repository, StoreAddress):
        _check_store(options, as_json=json)
        return
    from serve_deploy.checking.repository_check import check_repository

    with output.progress() as progress:
        result = check_repository(options, progress=progress)
    output.emit(result, as_json=json, render=print_check)
    _require_sound(result)


def _check_store(options: CheckOptions, *, as_json: bool) -> None:
    from serve_deploy.checking.store_check import check_store

    with output.progress() as progress:
        result = check_store(options, progress=progress)
    output.emit(result, as_json=as_json, render=print_store_check)
    if result.problems:
        found = {problem.path or problem.message for problem in result.problems}
        # Of an image it may be a layer.
        noun = "file" if all(problem.path for problem in result.problems) else "part"
        # A registry believes that it has what it has lost.
        again = (
            "repair the registry's storage, or" if result.store.startswith("oci://") else "push the models again, or"
        )
        raise VerificationError(
            f"{output.count(len(found), noun)} of snapshot {result.snapshot} failed the check",
            hint=f"{again} name a snapshot that is whole: serve snapshots {result.store}",
        )
    if result.repository:
        _require_sound(result.repository)
    if result.served and result.served.different:
        names = ", ".join(model.name for model in result.served.different)
        raise VerificationError(f"{result.served.url} does not serve snapshot {result.snapshot}: {names}")


def _require_sound(result: RepositoryCheck) -> None:
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


def print_store_check(result: StoreCheck) -> None:
    """What was compared, and how; what is wrong with which file; then the models, here and on a server."""
    console = output.stdout()
    files = f"{output.count(result.files, 'file')} of {output.count(len(result.models), 'model')}"
    size = output.write_bytes(result.size_bytes)
    console.print(f"snapshot {result.snapshot} of {result.store}: {files}, {size}", markup=False)
    for problem in result.problems:
        console.print(f"{problem.path}: {problem.message}" if problem.path else problem.message, markup=False)
    by = "their content" if result.compared == "content" else "the store's checksums"
    verified = result.files - len(result.unverified) - _count_damaged(result) if result.compared != "sizes" else 0
    if verified:
        console.print(f"{_are(verified)} as they were pushed, by {by}", markup=False)
    if result.signed_by:
        console.print(f"signed by {result.signed_by}", markup=False)
    if result.unverified and result.compared == "sizes":
        console.print(
            f"{_are(len(result.unverified))} in layers of the right size; a registry compares digests when it is pushed"
            " to: --download compares the content",
            markup=False,
        )
    elif result.unverified:
        console.print(
            f"{_are(len(result.unverified))} of the right size; the store has no checksum to compare: "
            "--download compares the content",
            markup=False,
        )
    if result.repository:
        print_check(result.repository)
    if result.served:
        _print_served(result.served)


def _are(files: int) -> str:
    return f"{output.count(files, 'file')} {'is' if files == 1 else 'are'}"


def _count_damaged(result: StoreCheck) -> int:
    """The snapshot's own files that have a problem, without those that are only in the store."""
    return len({problem.path for problem in result.problems if problem.kind != "extra"})


def _print_served(served: ServedSnapshot) -> None:
    rows = [
        (
            model.name,
            ", ".join(map(str, model.expected_versions)),
            ", ".join(map(str, model.served_versions)),
            "same" if model.config_compared and not model.differences else "-" if not model.differences else "",
            "; ".join(model.differences) or "served as the snapshot has it",
        )
        for model in served.models
    ]
    output.print_table(("model", "snapshot", "served", "configuration", f"Triton {served.server_version}"), rows)


def _row(model: CheckedModel) -> tuple[str, ...]:
    versions = ", ".join(map(str, model.versions))
    states = ", ".join(dict.fromkeys(state.state for state in model.states))
    return model.name, versions, _RESULTS[model.verdict], states, f"Triton {model.triton_release}"
