"""The state of a release, judged from its objects: its workload, replicas, models and autoscaler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, Object, connect
from serve_deploy.cluster.options import StatusOptions
from serve_deploy.cluster.state.autoscaler import AutoscalerState, describe_hpa, describe_scaled_object
from serve_deploy.cluster.state.objects import ReleaseObjects, condition, read_objects, server_container
from serve_deploy.cluster.state.pods import AT_ONCE, IN_A_WHILE, SHORTLY, PodState, describe_pod
from serve_deploy.cluster.state.timings import suggest_cold_start

_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Rollout:
    """The last rollout: whether it is done, and if not, what is missing.

    After `patience_seconds` waiting for it is in vain, None: it may take as long as it takes.
    """

    done: bool
    revision: str
    message: str
    patience_seconds: float | None = None


@dataclass(frozen=True)
class ReleaseState:
    """Everything that `serve status` tells; `unknown` names what the user may not read."""

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
    unknown: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether the rollout is done, the autoscaler has its replicas, and every model is ready on all of them."""
        return (
            self.rollout.done
            and (self.autoscaler is None or self.autoscaler.awaits is None)
            and all(pod.ready and all(state == "ready" for state in pod.models.values()) for pod in self.staying)
        )

    @property
    def staying(self) -> tuple[PodState, ...]:
        """The replicas that neither end nor have ended."""
        return tuple(pod for pod in self.pods if pod.stays)

    @property
    def cold_start_seconds(self) -> int | None:
        """The slowest start of its replicas; None where no time is known."""
        return suggest_cold_start(pod.timings for pod in self.staying)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions of the model repository that the staying replicas were made for."""
        return tuple(sorted({pod.revision for pod in self.staying}))


def read_status(options: StatusOptions) -> ReleaseState:
    """What a release does in its cluster; UsageError where there is none of that name."""
    return read_release(connect(options.context), options.release, options.namespace, with_events=options.timings)


def watch_status(options: StatusOptions, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[ReleaseState]:
    """What a release does, now and at each change, for ever; UsageError where there is none of that name."""
    cluster, last = connect(options.context), None
    while True:
        state = read_release(cluster, options.release, options.namespace, with_events=options.timings)
        if state != last:
            yield state
        last = state
        sleep(_LOOK_SECONDS)


def read_release(cluster: Cluster, release: str, namespace: str, *, with_events: bool = False) -> ReleaseState:
    """Read a release's objects and judge them; with all events, its timings tell of image pulls, too."""
    return describe_release(read_objects(cluster, release, namespace, with_events=with_events))


def describe_release(objects: ReleaseObjects) -> ReleaseState:
    """A release's state."""
    workload = objects.workload
    container = server_container(workload)
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
        autoscaler=_describe_autoscaler(objects),
        rollout=describe_rollout(workload),
        unknown=objects.unknown,
    )


def _describe_autoscaler(objects: ReleaseObjects) -> AutoscalerState | None:
    if objects.hpa:
        return describe_hpa(objects.hpa, objects.scaled_object)
    return describe_scaled_object(objects.scaled_object) if objects.scaled_object else None


def describe_rollout(workload: Object) -> Rollout:
    """Whether the controller has seen the last change and all replicas are of it and available."""
    revision = workload["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "")
    refused = condition(workload, "ReplicaFailure")
    if refused.get("status") == "True":
        return _explain_refusal(revision, refused.get("message", "no reason given"))
    lacking = _find_lack(workload)
    wanted = workload.get("spec", {}).get("replicas", 1)
    return Rollout(lacking is None, revision, lacking or f"{wanted} of {wanted} replicas are up to date and available")


def _explain_refusal(revision: str, message: str) -> Rollout:
    """Why the API server accepts no pod of the release: such a pod never exists, so nothing else tells."""
    if "violates PodSecurity" in message:
        words, patience = "Pod Security refuses its pods", AT_ONCE
    elif "RuntimeClass" in message:
        words, patience = "the cluster does not have the RuntimeClass of its pods (gpu.runtimeClassName)", AT_ONCE
    elif "exceeded quota" in message or "must specify" in message:
        words, patience = "the namespace's quota has no room for its pods", SHORTLY
    else:
        words, patience = "the API server refuses its pods", IN_A_WHILE
    return Rollout(done=False, revision=revision, message=f"{words}: {message}", patience_seconds=patience)


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
