"""What a cluster holds of a release, read as the API gives it; what it means is told elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, Forbidden, LogUnavailable, Object
from serve_deploy.errors import UsageError

SERVER_CONTAINER = "triton"
_INSTANCE = "app.kubernetes.io/instance"
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
    """A release's workload (of a kind), replicas and autoscaler; `scaled_object` where KEDA makes the autoscaler.

    `unknown` names what the user may not read, so that nothing is told of it.
    """

    release: str
    namespace: str
    kind: str
    workload: Object
    replicas: tuple[ReplicaObjects, ...]
    hpa: Object | None
    scaled_object: Object | None
    unknown: tuple[str, ...] = ()


def condition(item: Object, kind: str) -> Object:
    """An object's condition of a kind; empty where it has none."""
    conditions: Sequence[Object] = item.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def read_objects(cluster: Cluster, release: str, namespace: str, *, with_events: bool = False) -> ReleaseObjects:
    """Read all that a release consists of; UsageError where there is none of that name.

    Events are read where a pod is not ready, or `with_events`: a namespace may have thousands.

    Only its workload and pods must be readable: built-in roles do not know the kinds that others define, and the API
    refuses those before it says whether they exist.
    """
    reader = _Reader(cluster, namespace)
    kind, workload = _find_workload(reader, release)
    hpa, scaled_object = _find_scalers(reader, workload["metadata"]["name"])
    replicas = _read_replicas(reader, release, namespace, with_events=with_events)
    return ReleaseObjects(
        release, namespace, kind, workload, replicas, hpa, scaled_object, tuple(sorted(reader.refused))
    )


class _Reader:
    """Reads a namespace (None: all of them), and notes what may not be read."""

    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.refused: set[str] = set()

    def find(self, group: str, kinds: str, selector: str = "") -> list[Object]:
        """The namespace's objects of a kind, such as `apps/v1` and `deployments`."""
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        within = "" if self.namespace is None else f"/namespaces/{self.namespace}"
        return self.cluster.find(f"{root}{within}/{kinds}", selector)

    def find_if_allowed(self, group: str, kinds: str, selector: str = "") -> list[Object]:
        """The same; none where the user may not list them."""
        try:
            return self.find(group, kinds, selector)
        except Forbidden:
            self.refused.add(kinds)
            return []

    def read_logs(self, namespace: str, pod: Object) -> Logs:
        """The logs of a pod's server; empty where its node does not answer, or the user may not read them."""
        try:
            return _read_logs(self.cluster, namespace, pod)
        except LogUnavailable:
            # A node that is down must not hide the replicas of the others.
            return Logs()
        except Forbidden:
            self.refused.add("pods/log")
            return Logs()


def find_workload(cluster: Cluster, release: str, namespace: str) -> tuple[str, Object]:
    """The kind and the Deployment or LeaderWorkerSet of a release; UsageError where there is none of that name."""
    return _find_workload(_Reader(cluster, namespace), release)


def _find_workload(reader: _Reader, release: str) -> tuple[str, Object]:
    for item in reader.find("apps/v1", "deployments", _selector(release)):
        return "Deployment", item
    for item in reader.find_if_allowed("leaderworkerset.x-k8s.io/v1", "leaderworkersets", _selector(release)):
        return "LeaderWorkerSet", item
    unseen = "; whether there is a LeaderWorkerSet of that name is not known: you may not list them"
    raise UsageError(
        f"there is no release {release} of a triton chart in namespace {reader.namespace}"
        + (unseen if reader.refused else ""),
        hint=_SEE_RELEASES,
    )


def read_releases(cluster: Cluster, namespace: str | None) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Namespace and name of every release of a triton chart, known by its workload; and what may not be listed.

    `namespace` None reads all of them.
    """
    reader = _Reader(cluster, namespace)
    selector = "app.kubernetes.io/component=server,helm.sh/chart"
    workloads = reader.find("apps/v1", "deployments", selector)
    workloads += reader.find_if_allowed("leaderworkerset.x-k8s.io/v1", "leaderworkersets", selector)
    found = {
        (item["metadata"]["namespace"], item["metadata"]["labels"][_INSTANCE])
        for item in workloads
        if server_container(item)
    }
    return sorted(found), tuple(sorted(reader.refused))


def server_container(workload: Object) -> Object:
    """The Triton container of a Deployment's or LeaderWorkerSet's pods; empty where there is none."""
    spec = workload.get("spec", {})
    template = spec.get("template") or spec.get("leaderWorkerTemplate", {}).get("leaderTemplate", {})
    containers: Sequence[Object] = template.get("spec", {}).get("containers", [])
    return next((each for each in containers if each["name"] == SERVER_CONTAINER), {})


def find_pods(cluster: Cluster, release: str, namespace: str, pod: str | None) -> list[str]:
    """The names of a release's replicas, or the one asked for; UsageError where there is none."""
    names = [item["metadata"]["name"] for item in _list_pods(cluster, release, namespace)]
    if not names:
        raise UsageError(f"release {release} has no replica in namespace {namespace}", hint=_SEE_RELEASES)
    if pod is not None and pod not in names:
        raise UsageError(f"release {release} has no replica {pod}", hint=f"it has {', '.join(names)}")
    return names if pod is None else [pod]


def _selector(release: str) -> str:
    return f"{_INSTANCE}={release},app.kubernetes.io/component=server"


def _list_pods(cluster: Cluster, release: str, namespace: str) -> list[Object]:
    pods = cluster.find(f"/api/v1/namespaces/{namespace}/pods", _selector(release))
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def _read_replicas(reader: _Reader, release: str, namespace: str, *, with_events: bool) -> tuple[ReplicaObjects, ...]:
    pods = _list_pods(reader.cluster, release, namespace)
    all_ready = all(condition(pod, "Ready").get("status") == "True" for pod in pods)
    events = [] if all_ready and not with_events else reader.find_if_allowed("v1", "events")
    return tuple(ReplicaObjects(pod, _events_of(events, pod), reader.read_logs(namespace, pod)) for pod in pods)


def _events_of(events: Sequence[Object], pod: Object) -> list[Object]:
    uid = pod["metadata"].get("uid")
    return [event for event in events if event.get("involvedObject", {}).get("uid") == uid]


def _read_logs(cluster: Cluster, namespace: str, pod: Object) -> Logs:
    name = pod["metadata"]["name"]
    statuses: Mapping[str, Object] = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses", [])}
    server = statuses.get(SERVER_CONTAINER, {})
    if not server.get("containerID"):
        return Logs()
    current = cluster.read_log(namespace, name, container=SERVER_CONTAINER, tail=LOG_LINES)
    if server.get("ready") or not server.get("restartCount"):
        return Logs(current)
    previous = cluster.read_log(namespace, name, container=SERVER_CONTAINER, tail=LOG_LINES, previous=True)
    return Logs(current, previous or current)


def _find_scalers(reader: _Reader, workload: str) -> tuple[Object | None, Object | None]:
    def find(group: str, kinds: str) -> Object | None:
        found = reader.find_if_allowed(group, kinds)
        return next((each for each in found if each["spec"]["scaleTargetRef"]["name"] == workload), None)

    hpa = find("autoscaling/v2", "horizontalpodautoscalers")
    # One without an HPA is KEDA's that has not made it yet.
    by_keda = hpa is None or hpa["metadata"]["name"].startswith("keda-hpa-")
    return hpa, find("keda.sh/v1alpha1", "scaledobjects") if by_keda else None
