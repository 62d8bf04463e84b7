"""Install a chart or upgrade its release, and wait until it serves."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, Forbidden, connect
from serve_deploy.cluster.carried import remove_unused
from serve_deploy.cluster.helm import Helm
from serve_deploy.cluster.options import DeployOptions
from serve_deploy.cluster.release import ReleaseState
from serve_deploy.cluster.replicas import keep_replicas
from serve_deploy.cluster.rollout import explaining, wait_for_rollout
from serve_deploy.progress import Progress, silent


@dataclass(frozen=True)
class Deployment:
    """What was deployed; `manifest` with `dry_run`, `state` with `wait`.

    `removed_models` names the ConfigMaps with carried models that nothing needs any more.
    """

    release: str
    namespace: str
    revision: int | None
    notes: str
    manifest: str | None = None
    state: ReleaseState | None = None
    removed_models: tuple[str, ...] = ()


def deploy(options: DeployOptions, progress: Progress = silent) -> Deployment:
    """Install a chart, or upgrade its release, with helm; TritonStartError where it was to serve and does not."""
    helm, release, namespace = Helm(context=options.context), options.release, options.namespace
    given = [word for setting in options.settings for word in ("--set", setting)]
    given += [word for file in options.values for word in ("--values", file)]
    if options.dry_run:
        manifest = helm.render(options.chart, release, namespace, given)
        return Deployment(release, namespace, None, "", manifest=manifest)
    # Before helm is run, so that a wrong context is not found out afterwards.
    cluster = connect(options.context)
    extra = [*given, *(["--create-namespace"] if _is_missing(cluster, namespace) else [])]
    with explaining(helm, options):
        progress(f"helm installs or upgrades {release}")
        keep_replicas(cluster, options, lambda: helm.render(options.chart, release, namespace, given))
        done = helm.upgrade(options.chart, release, namespace, extra, force_conflicts=options.force_conflicts)
        state = wait_for_rollout(cluster, options, progress)
        removed = remove_unused(cluster, helm, release, namespace, progress)
    notes = done.get("info", {}).get("notes", "")
    return Deployment(release, namespace, done.get("version"), notes, state=state, removed_models=removed)


def _is_missing(cluster: Cluster, namespace: str) -> bool:
    """Whether helm is to create the namespace; it needs the right to even where the namespace exists."""
    try:
        return cluster.read(f"/api/v1/namespaces/{namespace}") is None
    except Forbidden:
        return False
