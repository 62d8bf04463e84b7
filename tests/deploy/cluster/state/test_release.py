"""A release's state, its rollout, its autoscaler, and the wait for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import running_api, write_kubeconfig
from recorded_objects import FAILED, LOADED, LOADING, deployment, hpa, pod, release_routes

from serve_deploy.cluster.api import Forbidden
from serve_deploy.cluster.changes.wait import Patience, wait_until_serving
from serve_deploy.cluster.options import StatusOptions
from serve_deploy.cluster.state.autoscaler import MetricReading, describe_hpa, parse_quantity
from serve_deploy.cluster.state.release import describe_rollout, read_release, watch_status
from serve_deploy.errors import TritonStartError, UsageError

Object = dict[str, Any]
FORBIDDEN = Forbidden("you may not do that in this cluster")
BLIND = {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "unable to get metric"}
DISABLED = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "scaling is disabled"}
LIMITED = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas", "message": "more than the maximum"}


class Recorded:
    """A cluster that answers from recordings, one after the other."""

    def __init__(self, *recordings: dict[str, Any]) -> None:
        self._recordings = itertools.chain(recordings, itertools.repeat(recordings[-1]))
        self._now = next(self._recordings)

    def advance(self, _seconds: float = 0) -> None:
        self._now = next(self._recordings)

    def find(self, path: str, selector: str = "") -> list[Object]:
        found: list[Object] | Forbidden = self._now.get(path, [])
        if isinstance(found, Forbidden):
            raise found
        return found

    def read_log(self, namespace: str, pod: str, *, container: str, tail: int, previous: bool = False) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log" + ("?previous" if previous else "")
        return str(self._now.get(path, ""))

    def follow_log(self, namespace: str, pod: str, *, container: str, tail: int) -> Iterator[str]:
        yield from self.read_log(namespace, pod, container=container, tail=tail).splitlines()


def test_a_release_that_serves() -> None:
    """Every replica ready, every model loaded, the rollout done."""
    state = read_release(Recorded(release_routes([pod("a"), pod("b")])), "demo", "models")
    assert (state.serves, state.models, state.wanted) == (True, ("digits",), 2)
    assert [each.models for each in state.pods] == [{"digits": "ready"}, {"digits": "ready"}]
    assert state.rollout.message == "2 of 2 replicas are up to date and available"


def test_kinds_that_may_not_be_read_are_not_known() -> None:
    """The API refuses kinds of others before it says whether they exist; the rest of the release is told."""
    kinds = {
        "/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers": "horizontalpodautoscalers",
        "/apis/keda.sh/v1alpha1/namespaces/models/scaledobjects": "scaledobjects",
        "/api/v1/namespaces/models/events": "events",
    }
    routes = release_routes([pod("a"), pod("b", ready=False)], workload=deployment(available=1))
    state = read_release(Recorded(routes | dict.fromkeys(kinds, FORBIDDEN)), "demo", "models")
    assert state.unknown == tuple(sorted(kinds.values()))
    assert [each.name for each in state.pods] == ["a", "b"]


def test_a_release_that_may_be_of_a_kind_not_known() -> None:
    """Without a Deployment it may still be a LeaderWorkerSet; who may not list those is told so."""
    routes = {"/apis/leaderworkerset.x-k8s.io/v1/namespaces/models/leaderworkersets": FORBIDDEN}
    with pytest.raises(UsageError, match="LeaderWorkerSet of that name is not known: you may not list them"):
        read_release(Recorded(routes), "ghost", "models")


@pytest.mark.parametrize(
    ("message", "words", "patience"),
    [
        ('pods "a" is forbidden: exceeded quota: gpus', "the namespace's quota has no room", 60),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', "Pod Security refuses its pods", 0),
        ('pods "a" is forbidden: pod rejected: RuntimeClass "nvidia" not found', "does not have the RuntimeClass", 0),
        ("admission webhook denied the request", "the API server refuses its pods: admission webhook", 300),
    ],
)
def test_pods_that_are_refused(message: str, words: str, patience: float) -> None:
    """A pod that never exists cannot say why; the workload's condition does."""
    refused = deployment(available=0)
    refused["status"]["conditions"].append({"type": "ReplicaFailure", "status": "True", "message": message})
    rollout = describe_rollout(refused)
    assert (rollout.done, rollout.patience_seconds) == (False, patience)
    assert words in rollout.message
    assert message in rollout.message


def test_no_such_release() -> None:
    """A name that no object carries is the user's mistake."""
    with pytest.raises(UsageError, match="there is no release ghost of a triton chart in namespace models"):
        read_release(Recorded({}), "ghost", "models")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"updated": 1}, "1 of 2 replicas are up to date"),
        ({"replicas": 3}, "old replicas still terminating: 1"),
        ({"available": 1}, "1 of 2 replicas are available"),
    ],
)
def test_rollout_under_way(changes: dict[str, int], message: str) -> None:
    """What the rollout lacks is counted."""
    rollout = describe_rollout(deployment(**changes))
    assert (rollout.done, rollout.message) == (False, message)


def test_rollout_that_is_not_seen_or_has_stopped() -> None:
    """A change that the controller has not seen is not done, and a deadline exceeded is said."""
    unseen, stopped = deployment(), deployment()
    unseen["metadata"]["generation"] = 4
    stopped["status"]["conditions"] = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "late"}]
    assert describe_rollout(unseen).message == "the controller has not seen the last change yet"
    assert describe_rollout(stopped).message == "the rollout has stopped: late"


def test_group_whose_controller_tells_no_generation() -> None:
    """An older LeaderWorkerSet's status is believed as it is; one that has none yet is not done."""
    old, new = deployment(), deployment()
    del old["status"]["observedGeneration"]
    new["status"] = {}
    assert (describe_rollout(old).done, describe_rollout(new).done) == (True, False)


def test_kedas_metrics_by_their_own_names() -> None:
    """KEDA calls a trigger's metric s0-prometheus; what the chart calls it says more."""
    made = hpa() | {"metadata": {"name": "keda-hpa-demo-triton"}}
    made["spec"]["metrics"] = [
        {"type": "External", "external": {"metric": {"name": "s1-prometheus"}, "target": {"averageValue": "8"}}}
    ]
    triggers = [{"type": "prometheus", "name": "triton_concurrency"}, {"type": "prometheus", "name": "triton_pending"}]
    scaled = {"spec": {"triggers": triggers, "minReplicaCount": 1}}
    assert [metric.name for metric in describe_hpa(made, scaled).metrics] == ["triton_pending"]


def test_idle_at_zero_is_said() -> None:
    """No replica is what KEDA wants, not something that is missing."""
    made = hpa() | {"metadata": {"name": "keda-hpa-demo-triton"}}
    made["status"] = {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [DISABLED]}
    state = describe_hpa(made, {"spec": {"minReplicaCount": 0}})
    assert (state.awaits, state.why) == (None, "idle at zero replicas: KEDA starts one when a trigger becomes active")


def test_autoscaler_with_its_metrics() -> None:
    """Targets, readings and the controller's own words."""
    current = [
        {"type": "Pods", "pods": {"metric": {"name": "triton_concurrency"}, "current": {"averageValue": "3100m"}}}
    ]
    state = describe_hpa(hpa(current=current))
    assert state.metrics == (MetricReading("triton_concurrency", 3.1, 2.5), MetricReading("triton_pending", None, 1.0))
    assert (state.wanted, state.why) == (3, "recommended size matches")


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ([BLIND, LIMITED],
         "it cannot read its metrics (FailedGetPodsMetric): unable to get metric; it takes the rules of ConfigMap"
         " demo-triton-adapter-rules in prometheus-adapter, and the replicas' metrics in Prometheus, which are there a"
         " minute after their start"),
        ([{"type": "ScalingActive", "status": "True"}, LIMITED],
         "limited (TooManyReplicas): more than the maximum"),
    ],
)  # fmt: skip
def test_why_the_autoscaler_does_not_follow(conditions: list[Object], why: str) -> None:
    """A metric that cannot be read matters more than a limit."""
    assert describe_hpa(hpa(conditions=conditions)).why == why


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ([{"type": "Ready", "status": "True"}, {"type": "Fallback", "status": "False"}], "recommended size matches"),
        ([{"type": "Fallback", "status": "True", "message": "At least one trigger is falling back"}],
         "KEDA uses its fallback, since a trigger cannot be read: At least one trigger is falling back"),
        ([{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "no such host"}],
         "KEDA is not ready (TriggerError): no such host"),
        ([{"type": "Paused", "status": "True"}], "KEDA is paused (annotation autoscaling.keda.sh/paused)"),
    ],
)  # fmt: skip
def test_what_keda_says_comes_first(conditions: list[Object], why: str) -> None:
    """Where KEDA cannot read its triggers, the HPA that it made tells only half of it."""
    routes = release_routes([pod("a")])
    made = hpa() | {"metadata": {"name": "keda-hpa-demo-triton"}}
    routes["/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers"] = [made]
    scaled = {"spec": {"scaleTargetRef": {"name": "demo-triton"}}, "status": {"conditions": conditions}}
    routes["/apis/keda.sh/v1alpha1/namespaces/models/scaledobjects"] = [scaled]
    scaler = read_release(Recorded(routes), "demo", "models").autoscaler
    assert scaler is not None
    assert scaler.why == why


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("3", 3.0), (2, 2.0), ("4Gi", 4 * 2**30), ("1k", 1000.0), ("1e3", 1000.0)]
)
def test_quantities(text: str | int, value: float) -> None:
    """Kubernetes' notation of numbers."""
    assert parse_quantity(text) == value


def wait(cluster: Recorded, timeout: float = 60.0) -> Any:
    clock = itertools.count(step=3.0)
    return wait_until_serving(
        cluster, "demo", "models", timeout_seconds=timeout, clock=lambda: next(clock), sleep=cluster.advance
    )


def test_wait_ends_when_every_model_is_ready() -> None:
    """First no pod is ready, then one, then both."""
    unready = pod("b", ready=False)
    started = release_routes([pod("a"), unready], log=LOADING, workload=deployment(available=1))
    state = wait(Recorded(started, started, release_routes([pod("a"), pod("b")])))
    assert state.serves


def test_wait_gives_up_at_a_model_that_does_not_load() -> None:
    """After a second crash it will not get better: Triton's line is the message."""
    crashed = pod("a", ready=False, restarts=2, last={"terminated": {"exitCode": 1}},
                  state={"waiting": {"reason": "CrashLoopBackOff"}})  # fmt: skip
    routes = release_routes([crashed], workload=deployment(wanted=1, updated=1, available=0))
    routes["/api/v1/namespaces/models/pods/a/log?previous"] = FAILED
    with pytest.raises(TritonStartError, match=r"a: a model does not load: model digits: .*Protobuf parsing failed"):
        wait(Recorded(routes))


def test_wait_tells_what_each_pod_waits_for_at_the_end() -> None:
    """Out of time, the replica without a GPU is named with the scheduler's reason."""
    unscheduled = pod(
        "b", ready=False, phase="Pending", scheduled="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    )
    routes = release_routes([pod("a"), unscheduled], workload=deployment(available=1))
    with pytest.raises(TritonStartError, match=r"not ready after 30 s: b: no node has a free GPU"):
        wait(Recorded(routes), timeout=30)


@pytest.mark.parametrize("end", ["Failed", "Succeeded"])
def test_an_evicted_replica_does_not_hold_up_the_wait(end: str) -> None:
    """It stays as an object beside the one that replaced it, and serves nothing."""
    routes = release_routes(
        [pod("old", ready=False, phase=end), pod("a")], workload=deployment(wanted=1, updated=1, available=1)
    )
    state = wait(Recorded(routes))
    assert [each.models for each in state.pods] == [{"digits": "ready"}, {"digits": "not running"}]


def test_wait_gives_up_when_patience_ends() -> None:
    """An image that does not exist is waited for a minute, in case it is just being pushed, not twenty."""
    unpulled = pod(
        "a", ready=False, phase="Pending", state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    )
    routes = release_routes([unpulled], workload=deployment(wanted=1, updated=1, available=0))
    cluster, polls = Recorded(routes), []
    clock = itertools.count(step=3.0)
    with pytest.raises(TritonStartError, match=r"will not become ready: a: the image .* cannot be pulled"):
        wait_until_serving(
            cluster, "demo", "models", timeout_seconds=1200, clock=lambda: next(clock), sleep=polls.append
        )
    assert len(polls) == 20


def test_replicas_that_fail_alike_are_told_once() -> None:
    """Eight replicas without an image are one line, and no log is named that none of them has."""
    unpulled = {"waiting": {"reason": "InvalidImageName", "message": "invalid reference"}}
    pods = [pod(name, ready=False, phase="Pending", state=unpulled) for name in ("a", "b", "c")]
    routes = release_routes(pods, workload=deployment(wanted=3, updated=3, available=0))
    with pytest.raises(TritonStartError, match=r"become ready: a and 2 more: the image [^;]*$") as caught:
        wait(Recorded(routes), timeout=10)
    assert caught.value.hint == "fix it and deploy again; serve status demo -n models shows each replica"


def test_patience_starts_again_with_another_obstacle() -> None:
    """What has changed is not the same obstacle for longer."""

    def failing(state: dict[str, Any]) -> Any:
        only = pod("a", ready=False, phase="Pending", state=state)
        routes = release_routes([only], workload=deployment(wanted=1, updated=1, available=0))
        return read_release(Recorded(routes), "demo", "models")

    patience, image = Patience(), failing({"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    assert patience.find_hopeless(image, 0) == []
    assert patience.find_hopeless(failing({"waiting": {"reason": "ContainerCreating"}}), 50) == []
    assert patience.find_hopeless(image, 70) == []
    assert len(patience.find_hopeless(image, 130)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": []}, "the autoscaler has not decided yet"),
        ({"currentReplicas": 1}, "the autoscaler has not made its 2 replicas"),
    ],
)
def test_wait_for_the_autoscaler(changes: dict[str, Any], words: str) -> None:
    """One ready replica of a fresh install is not what was asked for, until the autoscaler has had its say."""
    routes = release_routes([pod("a")])
    (scaler,) = routes["/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers"]
    scaler["status"] |= changes
    with pytest.raises(TritonStartError, match=words):
        wait(Recorded(routes), timeout=10)


def test_an_autoscaler_that_cannot_read_its_metrics_holds_nothing_up() -> None:
    """It wants no number then, and keeps those that it has."""
    routes = release_routes([pod("a"), pod("b")])
    (scaler,) = routes["/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers"]
    scaler["status"] |= {"desiredReplicas": 0, "conditions": [BLIND]}
    assert wait(Recorded(routes)).serves


def test_wait_for_keda() -> None:
    """A ScaledObject without an HPA is one that KEDA has yet to make."""
    routes = release_routes([pod("a")])
    routes["/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers"] = []
    scaled = {"metadata": {"name": "demo-triton"}, "spec": {"scaleTargetRef": {"name": "demo-triton"}}}
    routes["/apis/keda.sh/v1alpha1/namespaces/models/scaledobjects"] = [scaled]
    with pytest.raises(TritonStartError, match="KEDA has not made its autoscaler yet"):
        wait(Recorded(routes), timeout=10)


def test_old_replicas_do_not_hold_up_the_wait() -> None:
    """A replica that terminates is neither waited for nor complained about."""
    leaving = pod("old", ready=False)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    routes = release_routes([leaving, pod("a")], workload=deployment(wanted=1, updated=1, available=1))
    assert wait(Recorded(routes)).serves


def test_model_that_is_not_ready_on_a_ready_pod() -> None:
    """An unloaded model is waited for, and named."""
    unloaded = LOADED + "I1 1 1 model_lifecycle.cc:624] \"successfully unloaded 'digits' version 1\"\n"
    with pytest.raises(TritonStartError, match="a: model digits is unloaded"):
        wait(Recorded(release_routes([pod("a")], log=unloaded)), timeout=10)


def test_watching_tells_each_change_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same state twice is one state; the second look differs from the first."""
    routes = release_routes([pod("a", ready=False)], workload=deployment(wanted=1, updated=1, available=0))
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            routes.update(release_routes([pod("a")]))

    with running_api(routes) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, url)))
        states = watch_status(StatusOptions(release="demo", namespace="models"), sleep=sleep)
        first, second = next(states), next(states)
    assert (first.serves, second.serves, len(looks)) == (False, True, 3)
