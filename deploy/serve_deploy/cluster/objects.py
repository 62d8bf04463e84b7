"""What a cluster holds of a release, read as the API gives it; what it means is told elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, LogUnavailable, Object
from serve_deploy.errors import UsageError

SERVER_CONTAINER = "triton"
LOG_LINES = 2000
_SEE_RELEASES = "helm list --all-namespaces shows the releases; name the namespace with `namespace`"


@dataclass(frozen=True)
class Logs:
    """Triton's log, and that of the container before it, which holds the reason of its death."""

    current: str = ""
    previous: str = ""


@dataclass(frozen=True)
class ReplicaObjects:
    """A pod, its events (where some pod is not ready) and its logs."""

    pod: Object
    events: Sequence[Object] = ()
    logs: Logs = Logs()


@dataclass(frozen=True)
class ReleaseObjects:
    """A release's workload (of a kind), replicas and autoscaler; `scaled_object` where KEDA made the autoscaler."""

    release: str
    namespace: str
    kind: str
    workload: Object
    replicas: tuple[ReplicaObjects, ...]
    hpa: Object | None
    scaled_object: Object | None


def condition(item: Object, kind: str) -> Object:
    """An object's condition of a kind; empty where it has none."""
    conditions: Sequence[Object] = item.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def read_objects(cluster: Cluster, release: str, namespace: str) -> ReleaseObjects:
    """Read all that a release consists of; UsageError where there is none of that name."""
    kinds = {
        "Deployment": f"/apis/apps/v1/namespaces/{namespace}/deployments",
        "LeaderWorkerSet": f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/leaderworkersets",
    }
    workloads = [(kind, item) for kind, path in kinds.items() for item in cluster.find(path, _selector(release))]
    if not workloads:
        raise UsageError(
            f"there is no release {release} of a triton chart in namespace {namespace}", hint=_SEE_RELEASES
        )
    kind, workload = workloads[0]
    hpa, scaled_object = _find_scalers(cluster, namespace, workload["metadata"]["name"])
    replicas = _read_replicas(cluster, release, namespace)
    return ReleaseObjects(release, namespace, kind, workload, replicas, hpa, scaled_object)


def find_pods(cluster: Cluster, release: str, namespace: str, pod: str | None) -> list[str]:
    """The names of a release's replicas, or the one asked for; UsageError where there is none."""
    names = [item["metadata"]["name"] for item in _list_pods(cluster, release, namespace)]
    if not names:
        raise UsageError(f"release {release} has no replica in namespace {namespace}", hint=_SEE_RELEASES)
    if pod is not None and pod not in names:
        raise UsageError(f"release {release} has no replica {pod}", hint=f"it has {', '.join(names)}")
    return names if pod is None else [pod]


def _selector(release: str) -> str:
    return f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"


def _list_pods(cluster: Cluster, release: str, namespace: str) -> list[Object]:
    pods = cluster.find(f"/api/v1/namespaces/{namespace}/pods", _selector(release))
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def _read_replicas(cluster: Cluster, release: str, namespace: str) -> tuple[ReplicaObjects, ...]:
    pods = _list_pods(cluster, release, namespace)
    all_ready = all(condition(pod, "Ready").get("status") == "True" for pod in pods)
    events = [] if all_ready else cluster.find(f"/api/v1/namespaces/{namespace}/events")
    return tuple(ReplicaObjects(pod, _events_of(events, pod), _read_logs(cluster, namespace, pod)) for pod in pods)


def _events_of(events: Sequence[Object], pod: Object) -> list[Object]:
    uid = pod["metadata"].get("uid")
    return [event for event in events if event.get("involvedObject", {}).get("uid") == uid]


def _read_logs(cluster: Cluster, namespace: str, pod: Object) -> Logs:
    name = pod["metadata"]["name"]
    statuses: Mapping[str, Object] = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses", [])}
    server = statuses.get(SERVER_CONTAINER, {})
    if not server.get("containerID"):
        return Logs()
    try:
        current = cluster.read_log(namespace, name, container=SERVER_CONTAINER, tail=LOG_LINES)
        if server.get("ready") or not server.get("restartCount"):
            return Logs(current)
        previous = cluster.read_log(namespace, name, container=SERVER_CONTAINER, tail=LOG_LINES, previous=True)
    except LogUnavailable:
        # A node that is down must not hide the replicas of the others.
        return Logs()
    return Logs(current, previous or current)


def _find_scalers(cluster: Cluster, namespace: str, workload: str) -> tuple[Object | None, Object | None]:
    def find(path: str) -> Object | None:
        found = cluster.find(path)
        return next((each for each in found if each["spec"]["scaleTargetRef"]["name"] == workload), None)

    hpa = find(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
    by_keda = hpa is not None and hpa["metadata"]["name"].startswith("keda-hpa-")
    return hpa, find(f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects") if by_keda else None
