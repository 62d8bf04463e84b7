"""`serve rollback`: go back to an earlier revision of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.cluster.options import RollbackOptions

if TYPE_CHECKING:
    from serve_deploy.cluster.changes.rollback import Rollback


@takes_options(arguments=["release", "revision"], flags={"namespace": ("--namespace", "-n")})
def rollback(options: RollbackOptions, json: Json = False) -> None:
    """Go back to an earlier revision of a release, with helm; it also frees a release that an interrupted helm locked.

    \b
    serve rollback demo -n models --wait
    serve rollback demo 3 -n models --dry-run
    """
    from serve_deploy.cluster.changes.rollback import rollback as roll_back

    with output.progress(tells_waits=True) as progress:
        result = roll_back(options, progress)
    output.emit(result, as_json=json, render=print_rollback)


def print_rollback(result: Rollback) -> None:
    """Print what was rolled back, or what would change."""
    console, release, namespace = output.stdout(), result.release, result.namespace
    way = f"from revision {result.from_revision} to revision {result.to_revision}"
    if result.difference is not None:
        console.print(f"would roll back {release} in {namespace} {way}", markup=False)
        console.print(result.difference or "the manifests are the same", markup=False)
        return
    console.print(f"rolled back {release} in {namespace} {way}, now revision {result.revision}", markup=False)
    for name in result.removed_models:
        console.print(f"removed carried models that nothing needs any more: ConfigMap {name}", markup=False)
    if result.state is None:
        console.print(f"next: serve status {release} -n {namespace}", markup=False)
