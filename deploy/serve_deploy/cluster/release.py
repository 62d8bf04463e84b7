"""The state of a release, judged from its objects: its workload, replicas, models and autoscaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, Object, connect
from serve_deploy.cluster.autoscaler import AutoscalerState, describe_hpa
from serve_deploy.cluster.objects import SERVER_CONTAINER, ReleaseObjects, condition, read_objects
from serve_deploy.cluster.options import ReleaseOptions
from serve_deploy.cluster.pods import PodState, describe_pod


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
        """The replicas that are not terminating."""
        return tuple(pod for pod in self.pods if pod.phase != "Terminating")


def read_status(options: ReleaseOptions) -> ReleaseState:
    """What a release does in its cluster; UsageError where there is none of that name."""
    return read_release(connect(options.context), options.release, options.namespace)


def read_release(cluster: Cluster, release: str, namespace: str) -> ReleaseState:
    """Read a release's objects and judge them."""
    return describe_release(read_objects(cluster, release, namespace))


def describe_release(objects: ReleaseObjects) -> ReleaseState:
    """A release's state."""
    workload = objects.workload
    container = _server_container(workload)
    models = _served_models(container)
    return ReleaseState(
        release=objects.release,
        namespace=objects.namespace,
        workload=f"{objects.kind} {workload['metadata']['name']}",
        image=container.get("image", ""),
        models=models,
        wanted=workload.get("spec", {}).get("replicas", 1),
        ready=workload.get("status", {}).get("readyReplicas", 0),
        pods=tuple(describe_pod(each, models) for each in objects.replicas),
        autoscaler=describe_hpa(objects.hpa, objects.scaled_object) if objects.hpa else None,
        rollout=describe_rollout(workload),
    )


def describe_rollout(workload: Object) -> Rollout:
    """Whether the controller has seen the last change and all replicas are of it and available."""
    revision = workload["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "")
    lacking = _find_lack(workload)
    wanted = workload.get("spec", {}).get("replicas", 1)
    return Rollout(lacking is None, revision, lacking or f"{wanted} of {wanted} replicas are up to date and available")


def _find_lack(workload: Object) -> str | None:
    """What the rollout lacks, None where it is done."""
    status = workload.get("status", {})
    wanted, updated = workload.get("spec", {}).get("replicas", 1), status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", status.get("readyReplicas", 0))
    progressing = condition(workload, "Progressing")
    generation = workload["metadata"].get("generation", 0)
    # Older LeaderWorkerSets do not tell which generation their status is of.
    if status.get("observedGeneration", generation if status else 0) < generation:
        return "the controller has not seen the last change yet"
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return f"the rollout has stopped: {progressing.get('message', '')}"
    if updated < wanted:
        return f"{updated} of {wanted} replicas are up to date"
    if status.get("replicas", 0) > updated:
        return f"old replicas still terminating: {status['replicas'] - updated}"
    if available < wanted:
        return f"{available} of {wanted} replicas are available"
    return None


def _served_models(container: Object) -> tuple[str, ...]:
    """The models that Triton was told to load; none where it loads the whole repository."""
    arguments = [*container.get("command", []), *container.get("args", [])]
    return tuple(each.partition("=")[2] for each in arguments if each.startswith("--load-model="))


def _server_container(workload: Object) -> Object:
    spec = workload.get("spec", {})
    template = spec.get("template") or spec.get("leaderWorkerTemplate", {}).get("leaderTemplate", {})
    containers: Sequence[Object] = template.get("spec", {}).get("containers", [])
    return next((each for each in containers if each["name"] == SERVER_CONTAINER), {})
