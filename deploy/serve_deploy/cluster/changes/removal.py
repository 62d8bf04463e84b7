"""Remove a release from its cluster, with all that belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from serve_deploy.cluster.api import ClusterAccess, Object, connect
from serve_deploy.cluster.changes.carried import find_carried, remove_carried
from serve_deploy.cluster.changes.helm import Helm, read_manifest
from serve_deploy.cluster.changes.rollout import explaining
from serve_deploy.cluster.options import UndeployOptions
from serve_deploy.errors import EndpointError
from serve_deploy.progress import Progress, silent

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Removal:
    """What was removed, or would be with `dry_run`: objects as `Kind name`; `kept` are those that the chart keeps."""

    release: str
    namespace: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    dry_run: bool = False


def undeploy(options: UndeployOptions, progress: Progress = silent) -> Removal:
    """Remove a release; UsageError where there is none, EndpointError where its replicas do not end in time."""
    helm, release, namespace = Helm(context=options.context), options.release, options.namespace
    cluster = connect(options.context)
    progress(f"asking helm for the objects of {release}")
    last = helm.list_revisions(release, namespace)[-1]
    removed, kept = _sort_objects(helm.get("manifest", release, namespace, last.number))
    carried = find_carried(cluster, release, namespace)
    removed += tuple(f"ConfigMap {each['metadata']['name']}" for each in carried)
    if options.dry_run:
        return Removal(release, namespace, removed, kept, dry_run=True)
    with explaining(helm, options):
        progress(f"helm removes {release}")
        helm.uninstall(release, namespace)
        # Before the wait: a volume that is mounted stays, and an interrupted wait must leave nothing.
        remove_carried(cluster, namespace, carried)
        if options.wait:
            wait_until_gone(cluster, options, progress)
    return Removal(release, namespace, removed, kept)


def wait_until_gone(
    cluster: ClusterAccess,
    options: UndeployOptions,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when no replica of a release is left; EndpointError with those that are, after `timeout_seconds`."""
    deadline = clock() + options.timeout_seconds
    path, selector = f"/api/v1/namespaces/{options.namespace}/pods", f"app.kubernetes.io/instance={options.release}"
    while pods := cluster.find(path, selector):
        names = ", ".join(_name_pod(pod) for pod in pods)
        if clock() >= deadline:
            raise EndpointError(
                f"release {options.release} is removed, but after {options.timeout_seconds:.0f} s these have not"
                f" ended: {names}",
                hint="is their node up? kubectl get nodes; kubectl delete pod NAME --force gives one up",
            )
        progress(f"waiting for replicas to finish their requests and end: {names}")
        sleep(POLL_SECONDS)


def _name_pod(pod: Object) -> str:
    node = pod.get("spec", {}).get("nodeName")
    return f"{pod['metadata']['name']} on {node}" if node else str(pod["metadata"]["name"])


def _sort_objects(manifest: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The objects of a manifest that helm removes, and those that it keeps."""
    removed: list[str] = []
    kept: list[str] = []
    for item in read_manifest(manifest):
        annotations = item["metadata"].get("annotations") or {}
        stays = annotations.get("helm.sh/resource-policy") == "keep"
        (kept if stays else removed).append(f"{item['kind']} {item['metadata']['name']}")
    return tuple(removed), tuple(kept)
