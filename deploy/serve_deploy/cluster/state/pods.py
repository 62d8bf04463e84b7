"""What a replica does: is it ready, and if not, what is it waiting for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from serve_deploy.cluster.api import Object
from serve_deploy.cluster.state.objects import SERVER_CONTAINER, ReplicaObjects, condition
from serve_deploy.cluster.state.timings import StartTimings, read_timings
from serve_deploy.triton.log import announces_metrics, read_error, read_models

Obstacle = Literal[
    "unschedulable", "node", "sandbox", "image", "configuration", "volume", "model_fetch", "model_load", "memory",
    "crash", "not_answering", "readiness_gate", "starting", "ended", "ending",
]  # fmt: skip
_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
# What a registry answers where asking again does not help.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|unauthorized|denied|forbidden|invalid reference", re.IGNORECASE
)
# What the scheduler adds on evicting other pods, where that does not help.
_PREEMPTION = re.compile(r" (no new claims to deallocate, )?preemption: .*is not helpful for scheduling\.$")

# How long an obstacle may last before waiting for it is in vain, in seconds.
AT_ONCE = 0.0
SHORTLY = 60.0  # it would be permanent, unless someone is putting it right just now
IN_A_WHILE = 300.0  # a registry, a node or a volume may come back, and an autoscaler of nodes may add one


@dataclass(frozen=True)
class Wait:
    """What a pod waits for; after `patience_seconds` waiting is in vain, None: it may take as long as it takes.

    A `crash` counts from the second restart on: a first one may be a race at the start.
    """

    obstacle: Obstacle
    message: str
    patience_seconds: float | None = None
    is_crash: bool = False


@dataclass(frozen=True)
class PodState:
    """One replica: where it runs, the state of each model, and what it waits for.

    A model is `ready` only where the pod is; `loaded` where Triton has loaded it and the pod is not ready. `revision`
    is that of the repository which the pod was made for, `versions` are those that Triton loaded.
    """

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int
    models: dict[str, str]
    waits_for: Wait | None
    revision: str = ""
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    timings: StartTimings = field(default_factory=StartTimings)

    @property
    def stays(self) -> bool:
        """Whether it is one of the replicas that the release counts on: it neither ends nor has ended."""
        return self.phase not in ("Terminating", "Failed", "Succeeded")


def describe_pod(replica: ReplicaObjects, models: Sequence[str]) -> PodState:
    """The state of a replica that is to serve these models."""
    pod, status = replica.pod, replica.pod.get("status", {})
    metadata = pod["metadata"]
    server = _server(status)
    ready = condition(pod, "Ready").get("status") == "True" and not _has_ended(status)
    said = read_models(replica.logs.current)
    return PodState(
        name=metadata["name"],
        node=pod.get("spec", {}).get("nodeName", ""),
        phase="Terminating" if "deletionTimestamp" in metadata else status.get("phase", "Unknown"),
        ready=ready,
        restarts=server.get("restartCount", 0),
        models=_model_states(replica, models, ready=ready),
        waits_for=None if ready else find_obstacle(replica),
        revision=metadata.get("annotations", {}).get("serve/repository-revision", ""),
        versions={name: model.versions for name, model in said.items() if model.versions},
        timings=read_timings(replica),
    )


def _model_states(replica: ReplicaObjects, models: Sequence[str], *, ready: bool) -> dict[str, str]:
    """Each model's state; a ready pod serves all of its models, even where a long log has lost the line."""
    said = read_models(replica.logs.current)
    names = models or sorted(said)
    if not ready and not _is_running(replica.pod.get("status", {})):
        return {name: "failed" if name in said and said[name].state == "failed" else "not running" for name in names}
    states = {name: said[name].state if name in said else "ready" if ready else "unknown" for name in names}
    return states if ready else {name: "loaded" if state == "ready" else state for name, state in states.items()}


def find_obstacle(replica: ReplicaObjects) -> Wait:
    """Why a pod is not ready, from the first step that is not done: node, volumes, image, fetch, start, models."""
    pod, status = replica.pod, replica.pod.get("status", {})
    if wait := _ending(pod, status) or _without_node(replica):
        return wait
    for container in status.get("initContainerStatuses", []):
        if wait := _init_obstacle(container):
            return wait
    for container in status.get("containerStatuses", []):
        if wait := _container_obstacle(container, replica):
            return wait
    if not _is_running(status) and (wait := _preparation(replica.events)):
        return wait
    return _gate(pod) or _starting(replica)


def _ending(pod: Object, status: Object) -> Wait | None:
    disruption = condition(pod, "DisruptionTarget")
    why = f": {disruption.get('message') or disruption.get('reason')}" if disruption.get("status") == "True" else ""
    if "deletionTimestamp" in pod["metadata"]:
        return Wait("ending", f"it is terminating{why}")
    if _has_ended(status):
        said = ": ".join(filter(None, (status.get("reason"), status.get("message")))) or f"phase {status['phase']}"
        return Wait("ended", f"it has ended and is replaced by another pod ({said.strip()})")
    return Wait("ending", f"it is being moved away{why}") if why else None


def _without_node(replica: ReplicaObjects) -> Wait | None:
    pod = replica.pod
    scheduled, ready = condition(pod, "PodScheduled"), condition(pod, "Ready")
    if scheduled.get("status") == "False":
        return _explain_scheduling(scheduled, replica.events)
    if ready.get("status") == "Unknown" or ready.get("reason") == "NodeLost":
        node = pod.get("spec", {}).get("nodeName", "")
        return Wait("node", f"node {node} does not answer, so the state of its pods is not known", IN_A_WHILE)
    return None


def _explain_scheduling(scheduled: Object, events: Sequence[Object]) -> Wait:
    message = _PREEMPTION.sub("", scheduled.get("message", "no node fits"))
    patience: float | None = IN_A_WHILE
    if scheduled.get("reason") == "SchedulingGated":
        return Wait("unschedulable", f"its scheduling gates are closed: {message}")
    if _last_event(events, ("TriggeredScaleUp", "Nominated")):  # the cluster autoscaler, Karpenter
        message, patience = f"{message} (a new node was asked for)", None
    elif _last_event(events, ("NotTriggerScaleUp",)):
        message, patience = f"{message} (no node pool can add one that fits)", SHORTLY
    if "Insufficient nvidia.com" in message or "Insufficient amd.com" in message:
        return Wait("unschedulable", f"no node has a free GPU of the kind asked for: {message}", patience)
    if "cannot allocate all claims" in message:
        named = "devices left that its claim fits (gpu.deviceClass, gpu.deviceSelectors)"
        return Wait("unschedulable", f"no node has {named}: {message}", patience)
    if "node affinity" in message or "node selector" in message:
        named = "the labels asked for (gpu.profile, gpu.cloud, pod.nodeSelector)"
        return Wait("unschedulable", f"no node has {named}: {message}", patience)
    return Wait("unschedulable", f"no node fits: {message}", patience)


def _init_obstacle(container: Object) -> Wait | None:
    wait = _image_obstacle(container) or _config_obstacle(container)
    if wait:
        return wait
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if ended and ended.get("exitCode") and not container.get("ready"):
        detail = (ended.get("message") or "").strip().splitlines()
        words = f": {detail[-1]}" if detail else ""
        return Wait("model_fetch", f"{container['name']} failed with exit code {ended['exitCode']}{words}", IN_A_WHILE)
    if "running" in container.get("state", {}) and not container.get("started"):
        return Wait("model_fetch", f"{container['name']} is still running")
    return None


def _container_obstacle(container: Object, replica: ReplicaObjects) -> Wait | None:
    wait = _image_obstacle(container) or _config_obstacle(container)
    if wait or container.get("ready"):
        return wait
    now = container.get("state", {}).get("terminated")
    ended = now or container.get("lastState", {}).get("terminated")
    if not ended:
        return None
    if container["name"] != SERVER_CONTAINER:
        return Wait("crash", f"container {container['name']} {_exit(ended)}", AT_ONCE, is_crash=True)
    logs = replica.logs
    return _explain_death(ended, logs.current if now else logs.previous, replica.events)


def _explain_death(ended: Object, log: str, events: Sequence[Object]) -> Wait:
    if ended.get("reason") == "OOMKilled":
        message = "Triton ran out of memory (OOMKilled): raise resources.memory"
        return Wait("memory", message, AT_ONCE, is_crash=True)
    killed = _last_event(events, ("Killing",), containing="probe")
    reason = read_error(log)
    if ended.get("exitCode") and read_models(log) and reason and reason.startswith("model "):
        return Wait("model_load", f"a model does not load: {reason}", AT_ONCE, is_crash=True)
    if killed:
        last = _last_event(events, ("Unhealthy",))
        said = f": {last}" if last else ""
        message = f"Kubernetes restarted Triton, which did not answer ({killed}){said}"
        return Wait("not_answering", message, AT_ONCE, is_crash=True)
    words = f": {reason}" if reason else "; its log shows no error"
    return Wait("crash", f"Triton {_exit(ended)}{words}", AT_ONCE, is_crash=True)


def _exit(ended: Object) -> str:
    return f"ended with exit code {ended.get('exitCode', 0)}"


def _image_obstacle(container: Object) -> Wait | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, said = waiting.get("reason"), waiting.get("message", "")
    if reason not in _IMAGE_REASONS:
        return None
    patience = SHORTLY if _NO_SUCH_IMAGE.search(said) else IN_A_WHILE
    if reason in ("InvalidImageName", "ErrImageNeverPull"):
        patience = AT_ONCE
    words = f": {said}" if said else ""
    return Wait("image", f"the image {container['image']} cannot be pulled ({reason}){words}", patience)


def _config_obstacle(container: Object) -> Wait | None:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") not in _CONFIG_REASONS:
        return None
    return Wait(
        "configuration", f"container {container['name']} cannot be created: {waiting.get('message', '')}", AT_ONCE
    )


def _preparation(events: Sequence[Object]) -> Wait | None:
    """What keeps a scheduled pod from getting its containers, which only events tell."""
    if mount := _last_event(events, ("FailedMount", "FailedAttachVolume", "FailedMapVolume")):
        return Wait("volume", f"a volume cannot be mounted: {mount}", IN_A_WHILE)
    if sandbox := _last_event(events, ("FailedCreatePodSandBox",)):
        return Wait("sandbox", f"the node cannot set up the pod: {sandbox}", IN_A_WHILE)
    return None


def _gate(pod: Object) -> Wait | None:
    """A readiness gate, such as a load balancer's, that is closed although all containers are ready."""
    gates = [each["conditionType"] for each in pod.get("spec", {}).get("readinessGates", [])]
    closed = [gate for gate in gates if condition(pod, gate).get("status") != "True"]
    if closed and condition(pod, "ContainersReady").get("status") == "True":
        return Wait("readiness_gate", f"its readiness gate {closed[0]} is not open", IN_A_WHILE)
    return None


def _starting(replica: ReplicaObjects) -> Wait:
    status, log = replica.pod.get("status", {}), replica.logs.current
    states = read_models(log)
    failed = [model for model in states.values() if model.state == "failed"]
    if failed:
        words = "; ".join(f"model {model.name}: {model.reason}" for model in failed)
        return Wait("model_load", f"a model does not load: {words}", AT_ONCE, is_crash=True)
    loading = [model.name for model in states.values() if model.state == "loading"]
    if loading:
        return Wait("starting", f"models are loading: {', '.join(loading)}")
    if not _is_running(status):
        return Wait("starting", "the container is being created (the image, over 10 GB, may still be downloading)")
    unhealthy = _last_event(replica.events, ("Unhealthy",))
    said = f": {unhealthy}" if unhealthy else ""
    # `started` says that the start-up probe has succeeded once.
    if _server(status).get("started"):
        return Wait("not_answering", f"Triton runs, but is not ready{said}", IN_A_WHILE)
    if announces_metrics(log):
        return Wait(
            "not_answering", f"Triton says that it serves, but does not pass its start-up probe{said}", IN_A_WHILE
        )
    return Wait("starting", f"Triton is starting{said}")


def _server(status: Object) -> Object:
    containers: Sequence[Object] = status.get("containerStatuses", [])
    return next((each for each in containers if each["name"] == SERVER_CONTAINER), {})


def _has_ended(status: Object) -> bool:
    return status.get("phase") in ("Failed", "Succeeded")


def _is_running(status: Object) -> bool:
    # An evicted pod's containers may still be told as they were.
    return not _has_ended(status) and "running" in _server(status).get("state", {})


def _last_event(events: Sequence[Object], reasons: Sequence[str], containing: str = "") -> str | None:
    found = [event for event in events if event.get("reason") in reasons and containing in event.get("message", "")]
    latest = max(found, key=_event_time, default=None)
    return latest.get("message", "") if latest else None


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
