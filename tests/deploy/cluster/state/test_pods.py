"""What a pod waits for, told from recorded objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_objects import FAILED, LOADED, LOADING, pod

from serve_deploy.cluster.state.objects import Logs, ReplicaObjects
from serve_deploy.cluster.state.pods import Wait, describe_pod, find_obstacle
from serve_deploy.triton.log import read_error, read_models

CRASHED = {"terminated": {"exitCode": 1, "reason": "Error"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}


def event(reason: str, message: str, time: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": time}


def pending(scheduled: str = "", **more: Any) -> dict[str, Any]:
    return pod(ready=False, phase="Pending", scheduled=scheduled or None, **more)


def waiting_for(reason: str, message: str = "") -> dict[str, Any]:
    return pending(state={"waiting": {"reason": reason, "message": message}})


def conditioned(waiting: dict[str, Any], kind: str, status: str, **more: str) -> dict[str, Any]:
    conditions = [each for each in waiting["status"]["conditions"] if each["type"] != kind]
    waiting["status"]["conditions"] = [*conditions, {"type": kind, "status": status, **more}]
    return waiting


def fetching(state: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "fetch-models", "image": "i", "state": state}
    return pending(state={"waiting": {"reason": "PodInitializing"}}, init=container)


def started(**more: Any) -> dict[str, Any]:
    waiting = pod(ready=False, **more)
    waiting["status"]["containerStatuses"][0]["started"] = True
    return waiting


def with_sidecar(last: dict[str, Any]) -> dict[str, Any]:
    waiting = pod(ready=False)
    waiting["status"]["containerStatuses"][0]["ready"] = True
    sidecar = {"name": "proxy", "image": "p", "ready": False, "state": BACK_OFF, "lastState": last}
    waiting["status"]["containerStatuses"].append(sidecar)
    return waiting


def ended(reason: str, message: str) -> dict[str, Any]:
    waiting = pod(ready=False, phase="Failed")
    waiting["status"] |= {"reason": reason, "message": message}
    return waiting


NO_MEMORY = "0/3 nodes are available: 3 Insufficient memory."
# What the scheduler adds from Kubernetes 1.32 on.
NO_VICTIMS = (
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
NO_DEVICE = "0/5 nodes: 2 node(s) didn't match Pod's node affinity/selector, 3 cannot allocate all claims."
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "Error"}}
UNHEALTHY = event("Unhealthy", "Liveness probe failed: context deadline exceeded")
SERVING = LOADED + 'I1123 04:29:09.1 1 http_server.cc:362] "Started Metrics Service at 0.0.0.0:8002"\n'
# What stands in the way, Triton's logs, events → the obstacle, words of its message, seconds of patience, is a crash.
OBSTACLES: dict[str, tuple[Any, ...]] = {
    "no free GPU": (pending(NO_GPU), Logs(), [],
        "unschedulable", f"no node has a free GPU of the kind asked for: {NO_GPU}", 300, False),
    "no free GPU, a node is coming": (pending(NO_GPU), Logs(), [event("TriggeredScaleUp", "pod triggered scale-up")],
        "unschedulable", "(a new node was asked for)", None, False),
    "no free GPU, no pool has one": (pending(NO_GPU), Logs(), [event("NotTriggerScaleUp", "3 max node group size")],
        "unschedulable", "(no node pool can add one that fits)", 60, False),
    "no device for its claim": (pending(NO_DEVICE), Logs(), [], "unschedulable",
        "no node has devices left that its claim fits (gpu.deviceClass", 300, False),
    "no node of the kind": (pending("0/3 nodes: 3 node(s) didn't match Pod's node affinity/selector."), Logs(), [],
        "unschedulable", "no node has the labels asked for (gpu.profile", 300, False),
    "no memory": (pending(f"{NO_MEMORY} {NO_VICTIMS}"), Logs(), [],
        "unschedulable", f"no node fits: {NO_MEMORY}", 300, False),
    "scheduling gate": (conditioned(pending(), "PodScheduled", "False", reason="SchedulingGated", message="gated"),
        Logs(), [], "unschedulable", "its scheduling gates are closed: gated", None, False),
    "node gone": (conditioned(pod(ready=False), "Ready", "Unknown"), Logs(), [],
        "node", "node node-a does not answer", 300, False),
    "image not found": (waiting_for("ImagePullBackOff", "manifest unknown"), Logs(), [],
        "image", "cannot be pulled (ImagePullBackOff): manifest unknown", 60, False),
    "image forbidden": (waiting_for("ErrImagePull", "pull access denied"), Logs(), [],
        "image", "pull access denied", 60, False),
    "registry down": (waiting_for("ErrImagePull", "dial tcp: i/o timeout"), Logs(), [],
        "image", "dial tcp: i/o timeout", 300, False),
    "image name wrong": (waiting_for("InvalidImageName"), Logs(), [],
        "image", "tritonserver:24.10-py3 cannot be pulled (InvalidImageName)", 0, False),
    "Secret missing": (waiting_for("CreateContainerConfigError", 'secret "bucket" not found'), Logs(), [],
        "configuration", 'container triton cannot be created: secret "bucket" not found', 0, False),
    "command missing": (waiting_for("RunContainerError", "exec: no such file"), Logs(), [],
        "configuration", "exec: no such file", 0, False),
    "volume missing": (waiting_for("ContainerCreating"), Logs(),
        [event("FailedMount", 'persistentvolumeclaim "models" not found')],
        "volume", 'a volume cannot be mounted: persistentvolumeclaim "models" not found', 300, False),
    "sandbox": (waiting_for("ContainerCreating"), Logs(), [event("FailedCreatePodSandBox", "no runtime for nvidia")],
        "sandbox", "the node cannot set up the pod: no runtime for nvidia", 300, False),
    "image on its way": (waiting_for("ContainerCreating"), Logs(), [],
        "starting", "may still be downloading", None, False),
    "fetch failed": (fetching({"terminated": {"exitCode": 22, "message": "curl: (22) 404"}}), Logs(), [],
        "model_fetch", "fetch-models failed with exit code 22: curl: (22) 404", 300, False),
    "fetching": (fetching({"running": {}}), Logs(), [],
        "model_fetch", "fetch-models is still running", None, False),
    "starting": (pod(ready=False), Logs(""), [],
        "starting", "Triton is starting", None, False),
    "models loading": (pod(ready=False), Logs(LOADING), [],
        "starting", "models are loading: digits", None, False),
    "model does not load": (pod(ready=False), Logs(FAILED), [],
        "model_load", "model digits: onnx runtime error 7: Load model from", 0, True),
    "model does not load, in a crash loop": (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=3),
        Logs("", FAILED), [], "model_load", "a model does not load: model digits: onnx runtime error 7", 0, True),
    "model did not load, restarted": (pod(ready=False, last=CRASHED, restarts=1), Logs(LOADING, FAILED), [],
        "model_load", "Protobuf parsing failed.", 0, True),
    "crash with a reason": (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=2),
        Logs("", "error: creating server: Invalid argument"), [],
        "crash", "Triton ended with exit code 1: Invalid argument", 0, True),
    "crash without a reason": (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=2), Logs("", "no such flag"),
        [], "crash", "exit code 1; its log shows no error", 0, True),
    "end without an error": (pod(ready=False, state=BACK_OFF, restarts=2,
        last={"terminated": {"exitCode": 0, "reason": "Completed"}}), Logs(), [],
        "crash", "Triton ended with exit code 0", 0, True),
    "out of memory": (pod(ready=False, state=BACK_OFF, last=OOM, restarts=2), Logs(), [],
        "memory", "Triton ran out of memory (OOMKilled): raise resources.memory", 0, True),
    "killed by its liveness probe": (pod(ready=False, last=KILLED, restarts=1), Logs(LOADING, LOADED),
        [UNHEALTHY, event("Killing", "Container triton failed liveness probe, will be restarted")],
        "not_answering", "Kubernetes restarted Triton, which did not answer", 0, True),
    "hung": (started(), Logs(SERVING), [event("Unhealthy", "Readiness probe failed: HTTP probe timed out")],
        "not_answering", "Triton runs, but is not ready: Readiness probe failed: HTTP probe timed out", 300, False),
    "serves, but not to its probe": (pod(ready=False), Logs(SERVING), [event("Unhealthy", "Startup probe failed: 404")],
        "not_answering", "does not pass its start-up probe: Startup probe failed: 404", 300, False),
    "sidecar": (with_sidecar(CRASHED), Logs(LOADED), [],
        "crash", "container proxy ended with exit code 1", 0, True),
    "readiness gate": (conditioned(conditioned(pod(ready=False) | {"spec": {"readinessGates": [
        {"conditionType": "cloud/lb"}]}}, "ContainersReady", "True"), "cloud/lb", "False"), Logs(LOADED), [],
        "readiness_gate", "its readiness gate cloud/lb is not open", 300, False),
    "evicted": (ended("Evicted", "The node was low on resource: memory."), Logs(), [],
        "ended", "it has ended and is replaced by another pod (Evicted: The node was low on resource: memory.)",
        None, False),
    "spot reclaim": (conditioned(pod(ready=False), "DisruptionTarget", "True", reason="TerminationByKubelet",
        message="Pod was terminated in response to imminent node shutdown."), Logs(LOADED), [],
        "ending", "it is being moved away: Pod was terminated in response to imminent node shutdown.", None, False),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSTACLES)
def test_obstacle(name: str) -> None:
    """The first step that is not done is named in the system's or Triton's own words, with how long it may take."""
    waiting, logs, events, obstacle, words, patience, crash = OBSTACLES[name]
    wait = find_obstacle(ReplicaObjects(waiting, events, logs))
    assert (wait.obstacle, wait.patience_seconds, wait.is_crash) == (obstacle, patience, crash)
    assert words in wait.message


@pytest.mark.parametrize("name", ["evicted", "hung", "starting", "killed by its liveness probe", "out of memory"])
def test_no_model_is_ready_on_a_pod_that_is_not(name: str) -> None:
    """What the log of a dead or hung Triton says last is not the state of its models."""
    waiting, logs, events, *_ = OBSTACLES[name]
    assert describe_pod(ReplicaObjects(waiting, events, logs), ["digits"]).models["digits"] != "ready"


def test_an_ended_pod_is_not_ready_whatever_its_conditions_say() -> None:
    """Who evicts a pod need not take its condition back."""
    state = describe_pod(ReplicaObjects(pod(phase="Failed"), logs=Logs(LOADED)), ["digits"])
    assert (state.ready, state.models) == (False, {"digits": "not running"})


def test_the_latest_event_counts() -> None:
    """The API gives events in no order."""
    events = [event("Unhealthy", "new", "2026-01-01T00:00:09Z"), event("Unhealthy", "old", "2026-01-01T00:00:01Z")]
    assert find_obstacle(ReplicaObjects(started(), events, Logs(LOADED))).message.endswith(": new")


def test_a_replica_says_what_it_serves() -> None:
    """The repository's revision that the pod was made for, and the versions that Triton loaded."""
    replica = pod()
    replica["metadata"]["annotations"] = {"serve/repository-revision": "abc"}
    two = LOADED.replace("digits:1", "digits:3") + LOADED.replace("digits:1", "digits:4").splitlines()[0]
    state = describe_pod(ReplicaObjects(replica, logs=Logs(two)), ["digits"])
    assert (state.revision, state.versions) == ("abc", {"digits": (4,)})


def test_ending_pod() -> None:
    """A pod with a deletion time is terminating, whatever else it says."""
    leaving = pod(ready=False)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    state = describe_pod(ReplicaObjects(leaving, logs=Logs(LOADED)), ["digits"])
    assert (state.phase, state.waits_for and state.waits_for.obstacle) == ("Terminating", "ending")


def test_ready_pod_serves_its_models() -> None:
    """A ready pod waits for nothing; a model that a long log has lost counts as ready."""
    state = describe_pod(ReplicaObjects(pod()), ["digits"])
    assert (state.ready, state.models, state.waits_for) == (True, {"digits": "ready"}, None)


def test_last_word_of_the_log_counts() -> None:
    """Loaded, unloaded, failed: the last line on a model is its state."""
    assert read_models(LOADED)["digits"].state == "ready"
    unloaded = LOADED + "I1 1 1 model_lifecycle.cc:624] \"successfully unloaded 'digits' version 1\"\n"
    assert read_models(unloaded)["digits"].state == "unloaded"
    assert read_models(LOADED + FAILED)["digits"].reason.endswith("Protobuf parsing failed.")


def test_error_of_the_server_itself() -> None:
    """Where no model failed, Triton's last error is the reason; a quiet log has none."""
    assert read_error("2026-11-23T04:29:05Z E 1 http_server.cc:1] failed to start HTTP service\n") == (
        "failed to start HTTP service"
    )
    assert read_error('E1123 04:29:09.568671 28208 tritonserver.cc:2607] "Internal: no GPU"\n') == "no GPU"
    assert read_error(LOADED) is None


def test_the_page_tells_every_obstacle() -> None:
    """docs/troubleshooting.md has a line for each, with what is said and when waiting ends."""
    page = (Path(__file__).parents[4] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    lines = []
    for name, (waiting, logs, events, *_) in OBSTACLES.items():
        wait = find_obstacle(ReplicaObjects(waiting, events, logs))
        lines.append(f"| {name} | {wait.message.replace('|', '/')} | {_in_words(wait)} |")
    missing = [line for line in lines if line not in page.splitlines()]
    assert missing == [], "\n".join(lines)


def _in_words(wait: Wait) -> str:
    if wait.patience_seconds is None:
        return "when the time is up"
    if wait.is_crash:
        return "at the second restart"
    minutes = wait.patience_seconds / 60
    return "at once" if not minutes else f"after {minutes:.0f} minute{'s' if minutes > 1 else ''}"
