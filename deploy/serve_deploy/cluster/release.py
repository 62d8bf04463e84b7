"""The state of a release: its workload, replicas, models and autoscaler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_deploy.cluster.api import Cluster, LogUnavailable
from serve_deploy.cluster.autoscaler import AutoscalerState, describe_hpa
from serve_deploy.cluster.pods import SERVER_CONTAINER, Logs, PodState, condition, describe_pod
from serve_deploy.errors import UsageError

Object = Mapping[str, Any]
LOG_LINES = 2000


@dataclass(frozen=True)
class Rollout:
    """The last rollout: whether it is done, and if not, what is missing."""

    done: bool
    revision: str
    message: str


@dataclass(frozen=True)
class ReleaseState:
    """Everything that `serve status` tells."""

    release: str
    namespace: str
    workload: str
    image: str
    models: tuple[str, ...]
    wanted: int
    ready: int
    pods: tuple[PodState, ...]
    autoscaler: AutoscalerState | None
    rollout: Rollout

    @property
    def serves(self) -> bool:
        """Whether the rollout is done and every model is ready on every replica."""
        return self.rollout.done and all(
            pod.ready and all(state == "ready" for state in pod.models.values()) for pod in self.staying
        )

    @property
    def staying(self) -> tuple[PodState, ...]:
        """The replicas that are not on their way out."""
        return tuple(pod for pod in self.pods if pod.phase != "Terminating")


def selector(release: str, component: str = "server") -> str:
    """The labels of a release's objects."""
    return f"app.kubernetes.io/instance={release},app.kubernetes.io/component={component}"


def read_release(cluster: Cluster, release: str, namespace: str) -> ReleaseState:
    """Read a release's state; UsageError where there is none of that name."""
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    groups = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/leaderworkersets"
    kinds = (("Deployment", f"{apps}/deployments"), ("LeaderWorkerSet", groups))
    workloads = [(kind, item) for kind, path in kinds for item in cluster.find(path, selector(release))]
    if not workloads:
        raise UsageError(
            f"there is no release {release} of a triton chart in namespace {namespace}",
            hint="helm list --all-namespaces shows the releases; name the namespace with -n",
        )
    kind, workload = workloads[0]
    models = served_models(workload)
    return ReleaseState(
        release=release,
        namespace=namespace,
        workload=f"{kind} {workload['metadata']['name']}",
        image=_server_container(workload).get("image", ""),
        models=models,
        wanted=workload.get("spec", {}).get("replicas", 1),
        ready=workload.get("status", {}).get("readyReplicas", 0),
        pods=_read_pods(cluster, release, namespace, models),
        autoscaler=_read_autoscaler(cluster, namespace, workload["metadata"]["name"]),
        rollout=describe_rollout(workload),
    )


def describe_rollout(workload: Object) -> Rollout:
    """Whether the controller has seen the last change and all replicas are of it and available."""
    metadata, status = workload["metadata"], workload.get("status", {})
    wanted = workload.get("spec", {}).get("replicas", 1)
    revision = metadata.get("annotations", {}).get("deployment.kubernetes.io/revision", "")
    progressing = condition(workload, "Progressing")
    updated, available = (
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", status.get("readyReplicas", 0)),
    )
    generation = metadata.get("generation", 0)
    # Older LeaderWorkerSets do not tell which generation their status is of.
    if status.get("observedGeneration", generation if status else 0) < generation:
        return Rollout(False, revision, "the last change has not been seen yet")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Rollout(False, revision, f"the rollout has stopped: {progressing.get('message', '')}")
    if updated < wanted:
        return Rollout(False, revision, f"{updated} of {wanted} replicas are of the last change")
    if status.get("replicas", 0) > updated:
        return Rollout(False, revision, f"{status['replicas'] - updated} old replicas are still ending")
    if available < wanted:
        return Rollout(False, revision, f"{available} of {wanted} replicas are available")
    return Rollout(True, revision, f"all {wanted} replicas are of the last change and available")


def served_models(workload: Object) -> tuple[str, ...]:
    """The models that Triton was told to load; none where it loads the whole repository."""
    container = _server_container(workload)
    arguments = [*container.get("command", []), *container.get("args", [])]
    return tuple(each.partition("=")[2] for each in arguments if each.startswith("--load-model="))


def _server_container(workload: Object) -> Object:
    spec = workload.get("spec", {})
    template = spec.get("template") or spec.get("leaderWorkerTemplate", {}).get("leaderTemplate", {})
    containers: Sequence[Object] = template.get("spec", {}).get("containers", [])
    return next((each for each in containers if each["name"] == SERVER_CONTAINER), {})


def _read_pods(cluster: Cluster, release: str, namespace: str, models: Sequence[str]) -> tuple[PodState, ...]:
    core = f"/api/v1/namespaces/{namespace}"
    pods = sorted(cluster.find(f"{core}/pods", selector(release)), key=lambda pod: pod["metadata"]["name"])
    events = (
        cluster.find(f"{core}/events") if any(condition(pod, "Ready").get("status") != "True" for pod in pods) else []
    )
    return tuple(
        describe_pod(pod, _events_of(events, pod), _read_logs(cluster, namespace, pod), models) for pod in pods
    )


def _events_of(events: Sequence[Object], pod: Object) -> list[Object]:
    uid = pod["metadata"].get("uid")
    return [event for event in events if event.get("involvedObject", {}).get("uid") == uid]


def _read_logs(cluster: Cluster, namespace: str, pod: Object) -> Logs:
    name = pod["metadata"]["name"]
    statuses = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses", [])}
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


def _read_autoscaler(cluster: Cluster, namespace: str, workload: str) -> AutoscalerState | None:
    scalers = cluster.find(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
    hpa = _scaler_of(scalers, workload)
    if hpa is None:
        return None
    by_keda = hpa["metadata"]["name"].startswith("keda-hpa-")
    scaled_objects = cluster.find(f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects") if by_keda else []
    return describe_hpa(hpa, _scaler_of(scaled_objects, workload))


def _scaler_of(scalers: Sequence[Object], workload: str) -> Object | None:
    return next((each for each in scalers if each["spec"]["scaleTargetRef"]["name"] == workload), None)
