"""`serve deploy`: install or upgrade a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.cluster.options import DeployOptions

if TYPE_CHECKING:
    from serve_deploy.cluster.changes.deployment import Deployment
    from serve_deploy.cluster.changes.server_dry_run import ObjectChange


@takes_options(
    arguments=["chart"],
    flags={"namespace": ("--namespace", "-n"), "settings": "--set", "values": ("--values", "-f")},
)
def deploy(options: DeployOptions, json: Json = False) -> None:
    """Install a chart, or upgrade its release, with helm.

    \b
    serve deploy deploy-chart --release demo -n models --wait
    serve deploy deploy-chart --release demo -n models --rollback-on-failure
    serve deploy deploy-chart --release demo -n models --dry-run=server
    """
    from serve_deploy.cluster.changes.deployment import deploy as install
    from serve_deploy.cluster.changes.server_dry_run import require_accepted

    with output.progress(tells_waits=True) as progress:
        result = install(options, progress)
    output.emit(result, as_json=json, render=print_deployment)
    require_accepted(result.changes or ())


def print_deployment(result: Deployment) -> None:
    """Print what was deployed, or the manifests that would be."""
    if result.manifest is not None:
        output.stdout().print(result.manifest.rstrip("\n"), markup=False)
        return
    if result.changes is not None:
        _print_changes(result.changes)
        return
    lines = [f"deployed {result.release} in {result.namespace}, revision {result.revision}"]
    if result.notes:
        lines += ["", result.notes.strip(), ""]
    lines += [f"removed carried models that nothing needs any more: ConfigMap {each}" for each in result.removed_models]
    if result.state is None:
        lines.append(f"next: serve status {result.release} -n {result.namespace}")
    else:
        lines += [
            f"{pod.name}: {', '.join(f'{name} {state}' for name, state in pod.models.items())}"
            for pod in result.state.pods
        ]
    output.stdout().print("\n".join(lines), markup=False)


def _print_changes(changes: tuple[ObjectChange, ...]) -> None:
    console = output.stdout()
    words = {"create": "is created", "change": "changes", "none": "stays", "remove": "is removed"}
    for each in changes:
        said = f"is refused: {each.refusal}" if each.change == "refused" else words[each.change]
        console.print(f"{each.kind} {each.name} {said}", markup=False)
        if each.difference:
            console.print(each.difference, markup=False)
