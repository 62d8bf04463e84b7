"""The ConfigMaps that hold carried models: helm makes them anew for each revision and never removes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from serve_deploy.cluster.api import ClusterAccess, Object
from serve_deploy.cluster.changes.helm import Helm
from serve_deploy.errors import EndpointError


def find_carried(cluster: ClusterAccess, release: str, namespace: str) -> list[Object]:
    """The ConfigMaps with models of a release, of all of its revisions."""
    selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=models"
    return cluster.find(f"/api/v1/namespaces/{namespace}/configmaps", selector)


def remove_carried(cluster: ClusterAccess, namespace: str, carried: list[Object]) -> tuple[str, ...]:
    """Remove these ConfigMaps, unless they have been made anew since; the names of those that are gone."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    names = [(each["metadata"]["name"], each["metadata"]["uid"]) for each in carried]
    return tuple(sorted(name for name, uid in names if cluster.delete(f"{path}/{name}", uid)))


def remove_unused(
    cluster: ClusterAccess, helm: Helm, release: str, namespace: str, progress: Callable[[str], None]
) -> tuple[str, ...]:
    """Remove the carried models that no revision helm remembers and no replica needs; their names.

    Where that cannot be told, or may not be done, they stay.
    """
    try:
        # Read first: of what is made meanwhile, helm's history, read last, knows already.
        carried = find_carried(cluster, release, namespace)
        unused = [each for each in carried if each["metadata"]["name"] not in _mounted(cluster, release, namespace)]
        if unused:
            progress(f"looking for carried models that nothing of {release} needs any more")
            remembered = "".join(
                helm.get("hooks", release, namespace, revision.number)
                for revision in helm.list_revisions(release, namespace)
            )
            unused = [each for each in unused if each["metadata"]["name"] not in remembered]
        return remove_carried(cluster, namespace, unused)
    except EndpointError:
        return ()


def _mounted(cluster: ClusterAccess, release: str, namespace: str) -> set[str]:
    """The ConfigMaps that replicas mount, or would if an older ReplicaSet or group were to start some."""
    kinds = {
        "/apis/apps/v1": ("deployments", "replicasets", "statefulsets", "controllerrevisions"),
        "/api/v1": ("pods",),
    }
    selector = f"app.kubernetes.io/instance={release}"
    return {
        name
        for root, plurals in kinds.items()
        for plural in plurals
        for item in cluster.find(f"{root}/namespaces/{namespace}/{plural}", selector)
        for name in _config_maps(item)
    }


def _config_maps(value: object) -> Iterator[str]:
    """The names of ConfigMap volumes anywhere in an object, however deep its pod template lies."""
    if isinstance(value, dict):
        volume = value.get("configMap")
        if isinstance(volume, dict) and "name" in volume:
            yield str(volume["name"])
        for each in value.values():
            yield from _config_maps(each)
    elif isinstance(value, list):
        for each in value:
            yield from _config_maps(each)
