"""Install a chart or upgrade its release, and wait until it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serve_deploy.cluster.api import Cluster, ClusterAccess, Forbidden, connect
from serve_deploy.cluster.changes.carried import remove_unused
from serve_deploy.cluster.changes.helm import Helm
from serve_deploy.cluster.changes.helm_errors import NoSuchRelease
from serve_deploy.cluster.changes.replicas import keep_replicas
from serve_deploy.cluster.changes.rollback import rolling_back
from serve_deploy.cluster.changes.rollout import explaining, wait_for_rollout
from serve_deploy.cluster.changes.server_dry_run import ObjectChange, find_changes
from serve_deploy.cluster.options import DeployOptions
from serve_deploy.cluster.state.release import ReleaseState
from serve_deploy.errors import UsageError
from serve_deploy.progress import Progress, silent


@dataclass(frozen=True)
class Deployment:
    """What was deployed; `state` with `wait`, `manifest` with `dry_run`, `changes` with that of the server.

    `removed_models` names the ConfigMaps with carried models that nothing needs any more.
    """

    release: str
    namespace: str
    revision: int | None
    notes: str
    manifest: str | None = None
    state: ReleaseState | None = None
    removed_models: tuple[str, ...] = ()
    changes: tuple[ObjectChange, ...] | None = None


def deploy(options: DeployOptions, progress: Progress = silent) -> Deployment:
    """Install a chart, or upgrade its release, with helm; TritonStartError where it was to serve and does not."""
    if "://" not in options.chart and not Path(options.chart).exists():
        raise UsageError(f"there is no chart {options.chart}", hint="serve chart writes one")
    helm, release, namespace = Helm(context=options.context), options.release, options.namespace
    with _written(options.overrides) as given:
        if options.dry_run == "client":
            manifest = helm.render(options.chart, release, namespace, given)
            return Deployment(release, namespace, None, "", manifest=manifest)
        # Before helm is run, so that a wrong context is not found out afterwards.
        cluster = connect(options.context)
        if _is_missing(cluster, namespace):
            given = [*given, "--create-namespace"]
        with explaining(helm, options):
            if options.dry_run:
                return _try_out(cluster, helm, options, given)
            if not options.rollback_on_failure:
                return _install(cluster, helm, options, given, progress)
            with rolling_back(cluster, helm, options, progress):
                return _install(cluster, helm, replace(options, wait=True), given, progress)


@contextmanager
def _written(overrides: Mapping[str, Any]) -> Iterator[list[str]]:
    """Helm's arguments for chart values, of the types that YAML gives them: `--set` would guess others."""
    if not overrides:
        yield []
        return
    with TemporaryDirectory(prefix="serve-values-") as folder:
        path = Path(folder) / "values.json"
        path.write_text(json.dumps(overrides), encoding="utf-8")
        yield ["--values", str(path)]


def _install(
    cluster: ClusterAccess, helm: Helm, options: DeployOptions, given: list[str], progress: Progress
) -> Deployment:
    release, namespace = options.release, options.namespace
    progress(f"helm installs or upgrades {release}")
    rendering = [word for word in given if word != "--create-namespace"]
    keep_replicas(cluster, options, lambda: helm.render(options.chart, release, namespace, rendering))
    done = helm.upgrade(options.chart, release, namespace, given, force_conflicts=options.force_conflicts)
    state = wait_for_rollout(cluster, options, progress)
    removed = remove_unused(cluster, helm, release, namespace, progress)
    notes = done.get("info", {}).get("notes", "")
    return Deployment(release, namespace, done.get("version"), notes, state=state, removed_models=removed)


def _try_out(cluster: ClusterAccess, helm: Helm, options: DeployOptions, given: list[str]) -> Deployment:
    """What an upgrade would change, by the API server's account."""
    release, namespace = options.release, options.namespace
    rendered = helm.upgrade(options.chart, release, namespace, [*given, "--dry-run=server"])
    try:
        last = [each for each in helm.list_revisions(release, namespace) if each.status == "deployed"][-1:]
    except NoSuchRelease:
        last = []
    before = "".join(helm.get("manifest", release, namespace, each.number) for each in last)
    changes = find_changes(cluster, namespace, rendered, before, force=options.force_conflicts)
    return Deployment(release, namespace, None, "", changes=changes)


def _is_missing(cluster: Cluster, namespace: str) -> bool:
    """Whether helm is to create the namespace; it needs the right to even where the namespace exists."""
    try:
        return cluster.read(f"/api/v1/namespaces/{namespace}") is None
    except Forbidden:
        return False
