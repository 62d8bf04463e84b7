"""Who owns the number of replicas, where helm applies server-side: what nobody owns any more falls back to 1."""

from __future__ import annotations

from collections.abc import Callable

from serve_deploy.cluster.api import ClusterAccess, Object
from serve_deploy.cluster.changes.helm import read_manifest
from serve_deploy.cluster.options import ReleaseOptions
from serve_deploy.cluster.state.objects import find_workload
from serve_deploy.errors import UsageError

MANAGER = "serve"
_ROOTS = {
    "Deployment": ("apps/v1", "deployments"),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
}


def keep_replicas(cluster: ClusterAccess, options: ReleaseOptions, render: Callable[[], str]) -> None:
    """Before helm applies a manifest: where it leaves the replicas to an autoscaler, own what is live meanwhile.

    Where a later manifest sets them again, what was owned so gives way to it.
    """
    try:
        kind, live = find_workload(cluster, options.release, options.namespace)
    except UsageError:
        return
    owners = find_owners(live)
    if MANAGER not in owners and owners != {"helm"}:
        return
    wanted, now = _read_replicas(render(), kind), live["spec"].get("replicas", 1)
    if wanted is None and owners == {"helm"}:
        _own(cluster, kind, live, now)
    elif wanted is not None and MANAGER in owners and wanted != now:
        _own(cluster, kind, live, wanted)


def find_owners(workload: Object) -> set[str]:
    """Who owns the number of replicas, `helm` only where it applied it server-side."""
    return {
        entry["manager"] if entry["operation"] == "Apply" else f"{entry['manager']} by update"
        for entry in workload["metadata"].get("managedFields", ())
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    }


def _own(cluster: ClusterAccess, kind: str, live: Object, replicas: int) -> None:
    version, plural = _ROOTS[kind]
    metadata = live["metadata"]
    path = f"/apis/{version}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
    document = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": replicas},
    }
    cluster.apply(path, document, manager=MANAGER, force=True)


def _read_replicas(manifest: str, kind: str) -> int | None:
    return next((each["spec"].get("replicas") for each in read_manifest(manifest) if each["kind"] == kind), None)
