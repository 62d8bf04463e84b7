"""A release's state, its rollout, its autoscaler, and the wait for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from recorded_objects import FAILED, LOADED, LOADING, deployment, hpa, pod, release_routes

from serve_deploy.cluster.autoscaler import MetricReading, describe_hpa, parse_quantity
from serve_deploy.cluster.release import describe_rollout, read_release
from serve_deploy.cluster.wait import wait_until_serving
from serve_deploy.errors import TritonStartError, UsageError

Object = dict[str, Any]
BLIND = {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "unable to get metric"}
LIMITED = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas", "message": "more than the maximum"}


class Recorded:
    """A cluster that answers from recordings, one after the other."""

    def __init__(self, *recordings: dict[str, Any]) -> None:
        self._recordings = itertools.chain(recordings, itertools.repeat(recordings[-1]))
        self._now = next(self._recordings)

    def advance(self, _seconds: float = 0) -> None:
        self._now = next(self._recordings)

    def find(self, path: str, selector: str = "") -> list[Object]:
        found: list[Object] = self._now.get(path, [])
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
         "it cannot read its metrics (FailedGetPodsMetric): unable to get metric"),
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
