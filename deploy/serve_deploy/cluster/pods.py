"""What a pod waits for, read from its object (as the API gives it in JSON), its events and Triton's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_deploy.cluster.api import Object
from serve_deploy.cluster.objects import SERVER_CONTAINER, Logs, ReplicaObjects, condition
from serve_deploy.triton.log import read_error, read_models

Obstacle = Literal[
    "unschedulable", "image", "configuration", "volume", "model_fetch", "model_load", "memory", "crash", "starting",
    "ending",
]  # fmt: skip
_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True)
class Wait:
    """What a pod waits for; `lasting` where waiting does not help."""

    obstacle: Obstacle
    message: str
    lasting: bool = False


@dataclass(frozen=True)
class PodState:
    """One replica: where it runs, the state of each model, and what it waits for."""

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int
    models: dict[str, str]
    waits_for: Wait | None


def describe_pod(replica: ReplicaObjects, models: Sequence[str]) -> PodState:
    """The state of a replica that is to serve these models."""
    pod, status = replica.pod, replica.pod.get("status", {})
    containers = {each["name"]: each for each in status.get("containerStatuses", [])}
    ready = condition(pod, "Ready").get("status") == "True"
    return PodState(
        name=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName", ""),
        phase="Terminating" if "deletionTimestamp" in pod["metadata"] else status.get("phase", "Unknown"),
        ready=ready,
        restarts=containers.get(SERVER_CONTAINER, {}).get("restartCount", 0),
        models=_model_states(replica.logs.current, models, ready=ready),
        waits_for=None if ready else find_obstacle(replica),
    )


def _model_states(log: str, models: Sequence[str], *, ready: bool) -> dict[str, str]:
    """Each model's state; a ready pod serves all of its models, even where a long log has lost the line."""
    said = read_models(log)
    names = models or sorted(said)
    unknown = "ready" if ready else "unknown"
    return {name: said[name].state if name in said else unknown for name in names}


def find_obstacle(replica: ReplicaObjects) -> Wait:
    """Why a pod is not ready, from the first step that is not done: node, volumes, image, fetch, start, models."""
    pod, status, logs = replica.pod, replica.pod.get("status", {}), replica.logs
    if "deletionTimestamp" in pod["metadata"]:
        return Wait("ending", "it is terminating")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Wait("unschedulable", _explain_scheduling(scheduled.get("message", "no node fits")))
    for container in status.get("initContainerStatuses", []):
        if wait := _init_obstacle(container):
            return wait
    for container in status.get("containerStatuses", []):
        if wait := _container_obstacle(container, logs):
            return wait
    mount = _last_event(replica.events, ("FailedMount", "FailedAttachVolume"))
    if mount and not _is_running(status):
        return Wait("volume", f"a volume cannot be mounted: {mount}")
    return _starting(status, logs.current)


def _explain_scheduling(message: str) -> str:
    if "Insufficient nvidia.com" in message or "Insufficient amd.com" in message:
        return f"no node has a free GPU of the kind asked for: {message}"
    if "node affinity" in message or "node selector" in message:
        return f"no node has the labels asked for (gpu.profile, gpu.cloud, pod.nodeSelector): {message}"
    return f"no node fits: {message}"


def _init_obstacle(container: Object) -> Wait | None:
    wait = _image_obstacle(container) or _config_obstacle(container)
    if wait:
        return wait
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if ended and ended.get("exitCode") and not container.get("ready"):
        detail = (ended.get("message") or "").strip().splitlines()
        words = f": {detail[-1]}" if detail else ""
        return Wait(
            "model_fetch", f"{container['name']} failed with exit code {ended['exitCode']}{words}", lasting=False
        )
    if "running" in container.get("state", {}):
        return Wait("model_fetch", f"{container['name']} is still running")
    return None


def _container_obstacle(container: Object, logs: Logs) -> Wait | None:
    wait = _image_obstacle(container) or _config_obstacle(container)
    if wait or container["name"] != SERVER_CONTAINER:
        return wait
    now = container.get("state", {}).get("terminated")
    ended = now or container.get("lastState", {}).get("terminated") or {}
    log = logs.current if now else logs.previous
    if ended.get("reason") == "OOMKilled":
        return Wait("memory", "Triton ran out of memory (OOMKilled): raise resources.memory", lasting=True)
    if ended.get("exitCode"):
        reason = read_error(log)
        if read_models(log) and reason and reason.startswith("model "):
            return Wait("model_load", f"a model does not load: {reason}", lasting=True)
        words = f": {reason}" if reason else "; its log shows no error"
        return Wait("crash", f"Triton ended with exit code {ended['exitCode']}{words}", lasting=True)
    return None


def _image_obstacle(container: Object) -> Wait | None:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") not in _IMAGE_REASONS:
        return None
    # Only a name that is not one is hopeless; a registry or a secret may come back.
    lasting = waiting["reason"] in ("InvalidImageName", "ErrImageNeverPull")
    words = f": {waiting['message']}" if waiting.get("message") else ""
    return Wait("image", f"the image {container['image']} cannot be pulled ({waiting['reason']}){words}", lasting)


def _config_obstacle(container: Object) -> Wait | None:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") not in _CONFIG_REASONS:
        return None
    return Wait(
        "configuration", f"container {container['name']} cannot be created: {waiting.get('message', '')}", lasting=True
    )


def _is_running(status: Object) -> bool:
    return any("running" in each.get("state", {}) for each in status.get("containerStatuses", []))


def _starting(status: Object, log: str) -> Wait:
    states = read_models(log)
    failed = [model for model in states.values() if model.state == "failed"]
    if failed:
        words = "; ".join(f"model {model.name}: {model.reason}" for model in failed)
        return Wait("model_load", f"a model does not load: {words}", lasting=True)
    loading = [model.name for model in states.values() if model.state == "loading"]
    if loading:
        return Wait("starting", f"models are loading: {', '.join(loading)}")
    if _is_running(status):
        return Wait("starting", "Triton is starting")
    return Wait("starting", "the container is being created (the image, over 10 GB, may still be downloading)")


def _last_event(events: Sequence[Object], reasons: Sequence[str]) -> str | None:
    messages = [event.get("message", "") for event in events if event.get("reason") in reasons]
    return messages[-1] if messages else None
