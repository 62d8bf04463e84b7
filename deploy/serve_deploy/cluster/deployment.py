"""Install a chart or upgrade its release, and wait until it serves."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, Forbidden, connect
from serve_deploy.cluster.helm import Helm
from serve_deploy.cluster.options import DeployOptions
from serve_deploy.cluster.release import ReleaseState
from serve_deploy.cluster.wait import wait_until_serving
from serve_deploy.progress import Progress, silent


@dataclass(frozen=True)
class Deployment:
    """What was deployed; `manifest` with `dry_run`, `state` with `wait`."""

    release: str
    namespace: str
    revision: int | None
    notes: str
    manifest: str | None = None
    state: ReleaseState | None = None


def deploy(options: DeployOptions, progress: Progress = silent) -> Deployment:
    """Install a chart, or upgrade its release, with helm; TritonStartError where it was to serve and does not."""
    helm, release, namespace = Helm(), options.release, options.namespace
    extra = [word for setting in options.settings for word in ("--set", setting)]
    extra += [word for file in options.values for word in ("--values", file)]
    if options.dry_run:
        manifest = helm.render(options.chart, release, namespace, extra)
        return Deployment(release, namespace, None, "", manifest=manifest)
    # Before helm is run, so that a wrong context is not found out afterwards.
    cluster = connect(options.context)
    progress(f"helm installs or upgrades {release}")
    extra += ["--kube-context", options.context] if options.context else []
    extra += ["--create-namespace"] if _is_missing(cluster, namespace) else []
    done = helm.upgrade(options.chart, release, namespace, extra)
    state = None
    if options.wait:
        timeout = options.timeout_seconds
        state = wait_until_serving(cluster, release, namespace, timeout_seconds=timeout, progress=progress)
    return Deployment(release, namespace, done.get("version"), done.get("info", {}).get("notes", ""), state=state)


def _is_missing(cluster: Cluster, namespace: str) -> bool:
    """Whether helm is to create the namespace; it needs the right to even where the namespace exists."""
    try:
        return cluster.read(f"/api/v1/namespaces/{namespace}") is None
    except Forbidden:
        return False
