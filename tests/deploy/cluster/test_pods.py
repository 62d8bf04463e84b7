"""What a pod waits for, told from recorded objects."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_objects import FAILED, LOADED, LOADING, pod

from serve_deploy.cluster.objects import Logs, ReplicaObjects
from serve_deploy.cluster.pods import describe_pod, find_obstacle
from serve_deploy.triton.log import read_error, read_models

CRASHED = {"terminated": {"exitCode": 1, "reason": "Error"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}


@pytest.mark.parametrize(
    ("waiting", "logs", "obstacle", "words", "lasting"),
    [
        (pod(ready=False, phase="Pending", scheduled="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), Logs(),
         "unschedulable", "no node has a free GPU of the kind asked for: 0/3 nodes", False),
        (pod(ready=False, phase="Pending", scheduled="0/3 nodes: 3 node(s) didn't match Pod's node affinity/selector."),
         Logs(), "unschedulable", "no node has the labels asked for", False),
        (pod(ready=False, phase="Pending", scheduled="0/3 nodes are available: 3 Insufficient memory."), Logs(),
         "unschedulable", "no node fits", False),
        (pod(ready=False, phase="Pending",
             state={"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}), Logs(),
         "image", "cannot be pulled (ImagePullBackOff): manifest unknown", False),
        (pod(ready=False, phase="Pending", state={"waiting": {"reason": "InvalidImageName"}}), Logs(),
         "image", "tritonserver:24.10-py3 cannot be pulled (InvalidImageName)", True),
        (pod(ready=False, phase="Pending", state={"waiting": {"reason": "CreateContainerConfigError",
             "message": 'secret "bucket" not found'}}), Logs(), "configuration", 'secret "bucket" not found', True),
        (pod(ready=False, phase="Pending", state={"waiting": {"reason": "ContainerCreating"}}), Logs(),
         "starting", "may still be downloading", False),
        (pod(ready=False, phase="Pending", state={"waiting": {"reason": "PodInitializing"}},
             init={"name": "fetch-models", "image": "i", "state": {"terminated": {"exitCode": 22,
                   "message": "curl: (22) 404"}}}), Logs(),
         "model_fetch", "fetch-models failed with exit code 22: curl: (22) 404", False),
        (pod(ready=False, phase="Pending", state={"waiting": {"reason": "PodInitializing"}},
             init={"name": "fetch-models", "image": "i", "state": {"running": {}}}), Logs(),
         "model_fetch", "fetch-models is still running", False),
        (pod(ready=False), Logs(""), "starting", "Triton is starting", False),
        (pod(ready=False), Logs(LOADING), "starting", "models are loading: digits", False),
        (pod(ready=False), Logs(FAILED), "model_load", "model digits: onnx runtime error 7: Load model from", True),
        (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=3), Logs("", FAILED),
         "model_load", "a model does not load: model digits: onnx runtime error 7", True),
        (pod(ready=False, last=CRASHED, restarts=1), Logs(LOADING, FAILED),
         "model_load", "Protobuf parsing failed.", True),
        (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=2),
         Logs("", "error: creating server: Invalid argument"),
         "crash", "exit code 1: Invalid argument", True),
        (pod(ready=False, state=BACK_OFF, last=CRASHED, restarts=2), Logs("", "no such flag"),
         "crash", "exit code 1; its log shows no error", True),
        (pod(ready=False, state=BACK_OFF, last={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, restarts=2),
         Logs(), "memory", "OOMKilled", True),
    ],
)  # fmt: skip
def test_obstacle(waiting: dict[str, Any], logs: Logs, obstacle: str, words: str, lasting: bool) -> None:
    """The first step that is not done is named, with the system's or Triton's own words."""
    wait = find_obstacle(ReplicaObjects(waiting, logs=logs))
    assert (wait.obstacle, wait.lasting) == (obstacle, lasting)
    assert words in wait.message


def test_volume_that_cannot_be_mounted() -> None:
    """The mount's error stands in an event, not in the pod."""
    waiting = pod(ready=False, phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})
    events = [{"reason": "FailedMount", "message": 'persistentvolumeclaim "models" not found'}]
    assert find_obstacle(ReplicaObjects(waiting, events)).message.endswith('persistentvolumeclaim "models" not found')


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
