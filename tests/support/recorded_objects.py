"""Kubernetes objects as the API gives them, cut down to what is read."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
LOADED = 'I1123 04:29:05.1 1 model_lifecycle.cc:472] "loading: digits:1"\n' + (
    "I1123 04:29:08.9 1 model_lifecycle.cc:839] \"successfully loaded 'digits'\"\n"
)
LOADING = LOADED.splitlines()[0] + "\n"
FAILED = LOADING + (
    "E1123 04:29:09.5 1 model_lifecycle.cc:642] \"failed to load 'digits' version 1: Internal: onnx runtime error 7: "
    'Load model from /m/1/model.onnx failed:Protobuf parsing failed.\\n\\nAt:\\n  model.py(48): initialize"\n'
    "I1123 04:29:09.5 1 model_lifecycle.cc:777] \"failed to load 'digits'\"\n"
    "error: creating server: Internal - failed to load all models\n"
)


def deployment(*, wanted: int = 2, updated: int = 2, available: int = 2, replicas: int | None = None) -> Object:
    """A Deployment of the chart."""
    container = {"name": "triton", "image": "nvcr.io/nvidia/tritonserver:24.10-py3",
                 "args": ["tritonserver", "--load-model=digits"]}  # fmt: skip
    return {
        "metadata": {
            "name": "demo-triton", "generation": 3, "annotations": {"deployment.kubernetes.io/revision": "2"},
            "labels": {"app.kubernetes.io/instance": "demo"},
        },
        "spec": {"replicas": wanted, "template": {"spec": {"containers": [container]}}},
        "status": {
            "observedGeneration": 3, "replicas": wanted if replicas is None else replicas,
            "updatedReplicas": updated, "availableReplicas": available, "readyReplicas": available,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        },
    }  # fmt: skip


def pod(
    name: str = "demo-triton-1", *, ready: bool = True, phase: str = "Running", state: Object | None = None,
    last: Object | None = None, restarts: int = 0, scheduled: str | None = None, init: Object | None = None,
) -> Object:  # fmt: skip
    """A replica; `scheduled` is the scheduler's complaint, `state` and `last` are the server container's."""
    container: Object = {
        "name": "triton", "image": "nvcr.io/nvidia/tritonserver:24.10-py3", "ready": ready, "restartCount": restarts,
        "state": state or {"running": {}}, "lastState": last or {},
    }  # fmt: skip
    if not state or "waiting" not in state or restarts:
        container["containerID"] = "containerd://1"
    conditions = [{"type": "Ready", "status": str(ready)}]
    if scheduled:
        conditions.append({"type": "PodScheduled", "status": "False", "message": scheduled, "reason": "Unschedulable"})
    status: Object = {"phase": phase, "conditions": conditions}
    if not scheduled:
        status["containerStatuses"] = [container]
    if init:
        status["initContainerStatuses"] = [init]
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"nodeName": "node-a"}, "status": status}


def hpa(*, conditions: list[Object] | None = None, current: list[Object] | None = None) -> Object:
    """The HPA of the Deployment."""

    def metric(name: str, value: str) -> Object:
        target = {"type": "AverageValue", "averageValue": value}
        return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}

    return {
        "metadata": {"name": "demo-triton"},
        "spec": {
            "scaleTargetRef": {"name": "demo-triton"}, "minReplicas": 2, "maxReplicas": 8,
            "metrics": [metric("triton_concurrency", "2500m"), metric("triton_pending", "1")],
        },
        "status": {
            "currentReplicas": 2, "desiredReplicas": 3,
            "currentMetrics": current or [],
            "conditions": conditions
            or [{"type": "AbleToScale", "status": "True", "message": "recommended size matches"}],
        },
    }  # fmt: skip


def release_routes(pods: list[Object], *, log: str = LOADED, workload: Object | None = None) -> dict[str, Any]:
    """What a fake API answers for release demo in namespace models."""
    core, apps = "/api/v1/namespaces/models", "/apis/apps/v1/namespaces/models"
    routes: dict[str, Any] = {
        f"{apps}/deployments": [workload or deployment(wanted=len(pods), updated=len(pods), available=len(pods))],
        f"{core}/pods": pods,
        f"{core}/events": [],
        "/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers": [hpa()],
    }
    for each in pods:
        routes[f"{core}/pods/{each['metadata']['name']}/log"] = log
    return routes
