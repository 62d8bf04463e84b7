"""`serve deploy`: install or upgrade a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import cluster_options as asked
from serve_cli import output
from serve_cli.options import DryRun, Json

if TYPE_CHECKING:
    from serve_deploy.cluster.helm import Helm
    from serve_deploy.cluster.release import ReleaseState

Chart = Annotated[
    str, typer.Argument(metavar="CHART", help="A chart directory, a .tgz or an oci:// address.", show_default=False)
]
Release = Annotated[str, typer.Option("--release", metavar="NAME", help="The release's name.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until every model is ready on every replica.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long --wait waits.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="One value, as helm takes it. Repeatable.", show_default=False),
]
Values = Annotated[
    list[str] | None,
    typer.Option("--values", "-f", metavar="FILE", help="Values, as helm takes them. Repeatable.", show_default=False),
]


@dataclass(frozen=True)
class Deployment:
    """What was deployed; `manifest` with --dry-run, `state` with --wait."""

    release: str
    namespace: str
    revision: int | None
    notes: str
    manifest: str | None = None
    state: ReleaseState | None = None


def deploy(
    chart: Chart,
    release: Release,
    namespace: asked.Namespace = "default",
    wait: Wait = False,
    timeout: Timeout = 1200.0,
    settings: Set = None,
    values: Values = None,
    context: asked.Context = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Install a chart, or upgrade its release, with helm.

    \b
    serve deploy deploy-chart --release demo -n models --wait
    """
    from serve_deploy.cluster.helm import Helm

    helm = Helm()
    extra = [word for setting in settings or [] for word in ("--set", setting)]
    extra += [word for file in values or [] for word in ("--values", file)]
    if dry_run:
        manifest = helm.render(chart, release, namespace, extra)
        result = Deployment(release, namespace, None, "", manifest=manifest)
    else:
        result = _deploy(helm, chart, release, namespace, extra, context, wait=wait, timeout=timeout)
    output.emit(result, as_json=json, render=_print)


def _deploy(
    helm: Helm, chart: str, release: str, namespace: str, extra: list[str], context: str | None, *, wait: bool,
    timeout: float,
) -> Deployment:  # fmt: skip
    from serve_deploy.cluster.api import connect
    from serve_deploy.cluster.wait import wait_until_serving

    # Before helm is run, so that a wrong context is not found out afterwards.
    cluster = connect(context)
    with output.progress() as progress:
        progress(f"helm installs or upgrades {release}")
        done = helm.upgrade(chart, release, namespace, [*extra, *(["--kube-context", context] if context else [])])
        state = None
        if wait:
            state = wait_until_serving(cluster, release, namespace, timeout_seconds=timeout, progress=progress)
    info = done.get("info", {})
    return Deployment(release, namespace, done.get("version"), info.get("notes", ""), state=state)


def _print(result: Deployment) -> None:
    console = output.stdout()
    if result.manifest is not None:
        console.print(result.manifest.rstrip("\n"), markup=False)
        return
    console.print(f"deployed {result.release} in {result.namespace}, revision {result.revision}", markup=False)
    if result.notes:
        console.print(f"\n{result.notes.strip()}\n", markup=False)
    if result.state is None:
        console.print(f"next: serve status {result.release} -n {result.namespace}", markup=False)
        return
    for pod in result.state.pods:
        console.print(f"{pod.name}: {', '.join(f'{name} {state}' for name, state in pod.models.items())}", markup=False)
