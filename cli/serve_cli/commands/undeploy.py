"""`serve undeploy`: remove a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.cluster.options import UndeployOptions

if TYPE_CHECKING:
    from serve_deploy.cluster.changes.removal import Removal


@takes_options(arguments=["release"], flags={"namespace": ("--namespace", "-n")})
def undeploy(options: UndeployOptions, json: Json = False) -> None:
    """Remove a release with helm, and its carried models; its replicas finish their requests first.

    \b
    serve undeploy demo -n models
    serve undeploy demo -n models --dry-run
    """
    from serve_deploy.cluster.changes.removal import undeploy as remove

    with output.progress(tells_waits=True) as progress:
        result = remove(options, progress)
    output.emit(result, as_json=json, render=print_removal)


def print_removal(result: Removal) -> None:
    """Print what was removed, or would be, and what stays."""
    console = output.stdout()
    verb = "would remove" if result.dry_run else "removed"
    objects = output.count(len(result.removed), "object")
    console.print(f"{verb} {result.release} in {result.namespace}: {objects}", markup=False)
    for name in result.removed:
        console.print(f"  {name}", markup=False)
    for name in result.kept:
        console.print(f"kept, as the chart says: {name}", markup=False)
