"""The HPA's algorithm against cases worked by hand from the controller's source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.autoscaling.hpa import (
    SYNC_SECONDS,
    TOLERANCE,
    Autoscaler,
    Controller,
    Metric,
    Pod,
    Policy,
    ScalingRules,
    propose,
)

FREE = ScalingRules(0, (Policy("Pods", 1000, 15),))
UP = ScalingRules(0, (Policy("Pods", 2, 60), Policy("Percent", 100, 60)))
DOWN = ScalingRules(300, (Policy("Pods", 1, 120),))


def autoscaler(
    least: int = 1,
    most: int = 100,
    up: ScalingRules = FREE,
    down: ScalingRules = FREE,
    metrics: Sequence[str] = ("busy",),
) -> Autoscaler:
    return Autoscaler(least, most, tuple(Metric(name, 2.0) for name in metrics), up, down)


def pods(*values: float | str | None) -> list[Pod]:
    """Running pods by their value of `busy`; None has no metric, text is another phase."""
    return [
        Pod(f"p{index}", phase=value) if isinstance(value, str)
        else Pod(f"p{index}", values={} if value is None else {"busy": value})
        for index, value in enumerate(values)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("current", "listed", "expected", "why"),
    [
        (2, pods(4, 4), 4, "ratio 2 over 2 pods"),
        (2, pods(2.2, 2.2), 2, "ratio 1.1 is within the tolerance"),
        (2, pods(2.21, 2.21), 3, "ratio 1.105 is not: ceil(2.21)"),
        (4, pods(1.8, 1.8, 1.8, 1.8), 4, "ratio 0.9 is within the tolerance"),
        (20, pods(*[1.8] * 20), 20, "0.9 of 20 would be 18"),
        (4, pods(1, 1, 1, 1), 2, "ratio 0.5 over 4 pods"),
        (3, pods(1.0, 1.0, 1.1), 2, "the mean 3100 // 3 = 1033 thousandths: ceil(0.5165 * 3)"),
        (3, pods(4, 4, None), 4, "going up a missing pod counts 0: ceil(1.333 * 3)"),
        (3, pods(0.5, 0.5, None), 2, "going down a missing pod counts the target: ceil(0.5 * 3)"),
        (3, pods(3, 3, "Pending"), 3, "going up a pending pod counts 0: ratio 1.0"),
        (3, pods(8, 8, "Pending"), 8, "ceil(2.6665 * 3), as 16000 // 3 = 5333"),
        (3, pods(0.5, 0.5, "Pending"), 1, "going down a pending pod does not count at all"),
        (4, pods(2.8, 2.8, 2.8, None), 4, "dampened to 1.05 it is within the tolerance"),
        (4, pods(1.6, 1.6, 1.6, None), 4, "dampened to 0.85, ceil(3.4) is where it was"),
        (2, pods(4.401, "Pending"), 2, "4401 // 2 = 2200 thousandths are within the tolerance"),
        (2, pods(4.402, "Pending"), 3, "4402 // 2 = 2201 are not"),
        (2, pods(4.401, None), 2, "a missing pod counts as little as a pending one"),
        (2, pods(4.402, None), 3, "and no less"),
        (2, pods(1, 1, 1, None), 2, "going down must not add: ceil(0.625 * 4) is 3"),
        (6, pods(4, 4, None), 6, "going up must not take away: ceil(1.333 * 3) is 4"),
        (3, pods(3.2, 3.2, "Pending"), 3, "dampened to 1.0665"),
        (4, pods(3, 3, None, None), 4, "dampened to 0.75 the direction would turn"),
        (2, pods(2, None), 2, "ratio 1 asks for nothing"),
        (2, pods(2, "Pending"), 2, "at the target"),
        (2, pods(2.3, None), 2, "dampened to 0.575 the direction would turn"),
        (4, pods(4, 4, "Terminating", "Failed"), 4, "pods that end are not counted: 2 * 2"),
        (2, pods(0, 0), 0, "an idle metric asks for nothing; minReplicas is applied later"),
        (2, pods(None, None), None, "no pod has the metric"),
        (2, pods(None, "Pending"), None, "no running pod has the metric"),
    ],
)
def test_pods_metric(current: int, listed: list[Pod], expected: int | None, why: str) -> None:
    """The average over pods is held at the target, and pods without a value dampen the move."""
    spec = autoscaler()
    assert propose(spec, spec.metrics[0], current, listed, {}) == expected, why


@pytest.mark.parametrize(
    ("current", "total", "expected", "why"),
    [
        (4, 12.0, 6, "12 / 2"),
        (4, 8.8, 4, "1.1 of 4 * 2 is within the tolerance"),
        (4, 8.81, 5, "just outside: ceil(8.81 / 2)"),
        (4, 0.0, 0, "nothing to do"),
        (0, 3.0, 2, "from zero there is no tolerance"),
        (4, None, None, "no such series"),
    ],
)
def test_external_metric(current: int, total: float | None, expected: int | None, why: str) -> None:
    """KEDA's metrics are a total divided by the target, whatever the state of the pods."""
    metric = Metric("total", 2.0, "External")
    externals = {} if total is None else {"total": total}
    assert propose(autoscaler(), metric, current, pods("Pending"), externals) == expected, why


def test_largest_proposal_wins() -> None:
    """Of several metrics the one that asks for most decides."""
    controller = Controller(autoscaler(metrics=("busy", "waiting")))
    listed = [Pod("a", values={"busy": 1.0, "waiting": 6.0}), Pod("b", values={"busy": 1.0, "waiting": 6.0})]
    decision = controller.sync(0, 2, listed)
    assert (decision.proposals, decision.replicas) == ({"busy": 1, "waiting": 6}, 6)


def test_missing_metric_never_scales_down() -> None:
    """With one of two metrics missing the other may only raise the replicas."""
    down = Controller(autoscaler(metrics=("busy", "waiting"))).sync(0, 4, pods(1, 1, 1, 1))
    up = Controller(autoscaler(metrics=("busy", "waiting"))).sync(0, 4, pods(4, 4, 4, 4))
    assert (down.replicas, down.reason, up.replicas) == (4, "FailedGetMetric", 8)


def test_scale_up_policy_caps_each_period() -> None:
    """2 pods or a doubling in 60 s: 2 → 4, nothing more until the minute is over, then 8."""
    controller = Controller(autoscaler(up=UP))
    replicas = [2]
    for now in (0, 15, 30, 45, 60, 75, 120):
        replicas.append(controller.sync(now, replicas[-1], pods(*[100] * replicas[-1])).replicas)
    assert replicas[1:] == [4, 4, 4, 4, 8, 8, 16]


@pytest.mark.parametrize(("select", "expected"), [("Max", 20), ("Min", 12), ("Disabled", 10)])
def test_select_policy(select: str, expected: int) -> None:
    """Max takes the widest policy, Min the tightest, Disabled forbids the direction."""
    rules = ScalingRules(0, UP.policies, select)
    assert Controller(autoscaler(up=rules)).sync(0, 10, pods(*[100] * 10)).replicas == expected


def test_scale_down_takes_one_pod_in_two_minutes() -> None:
    """Without a window, 1 pod in 120 s: 5 → 4 at once, then every 120 s."""
    controller = Controller(autoscaler(down=ScalingRules(0, DOWN.policies)))
    replicas = [5]
    for now in range(0, 255, 15):
        replicas.append(controller.sync(now, replicas[-1], pods(*[0.1] * replicas[-1])).replicas)
    assert replicas[1:] == [4] * 8 + [3] * 8 + [2]


def test_percent_down_rounds_down() -> None:
    """Half of 7 is 3, as the controller cuts the fraction off."""
    rules = ScalingRules(0, (Policy("Percent", 50, 60),))
    assert Controller(autoscaler(down=rules)).sync(0, 7, pods(*[0.1] * 7)).replicas == 3


def test_stabilization_window_holds_the_highest_recommendation() -> None:
    """Asked for 4 at 0 s, a wish for 1 is only followed when that is 300 s old."""
    controller = Controller(autoscaler(down=DOWN))
    assert controller.sync(0, 4, pods(2, 2, 2, 2)).replicas == 4
    held = controller.sync(299, 4, pods(0.1, 0.1, 0.1, 0.1))
    freed = controller.sync(300, 4, pods(0.1, 0.1, 0.1, 0.1))
    assert (held.replicas, held.reason, freed.replicas) == (4, "ScaleDownStabilized", 3)


def test_stabilization_window_going_up_waits_for_the_lowest() -> None:
    """With 60 s going up, a spike of one sync changes nothing."""
    controller = Controller(autoscaler(up=ScalingRules(60, FREE.policies)))
    controller.sync(0, 2, pods(2, 2))
    spike = controller.sync(15, 2, pods(20, 20))
    assert (spike.replicas, spike.reason) == (2, "ScaleUpStabilized")


@pytest.mark.parametrize(
    ("current", "value", "expected", "reason"),
    [(2, 100.0, 6, "TooManyReplicas"), (4, 0.0, 2, "TooFewReplicas"), (9, 2.0, 6, "above maxReplicas"),
     (1, 2.0, 2, "below minReplicas"), (0, 2.0, 0, "ScalingDisabled"), (6, 100.0, 6, "TooManyReplicas"),
     (2, 0.0, 2, "TooFewReplicas"), (6, 2.0, 6, "DesiredWithinRange"), (2, 2.0, 2, "DesiredWithinRange"),
     (4, 3.0, 6, "DesiredWithinRange"), (4, 1.0, 2, "DesiredWithinRange")],
)  # fmt: skip
def test_limits(current: int, value: float, expected: int, reason: str) -> None:
    """minReplicas and maxReplicas hold, and zero replicas switch the autoscaler off."""
    decision = Controller(autoscaler(2, 6)).sync(0, current, pods(*[value] * current))
    assert (decision.replicas, decision.reason) == (expected, reason)


def test_no_replicas_switch_the_autoscaler_off_unless_it_may_scale_to_none() -> None:
    """An external metric brings the first replica back, where minReplicas is 0."""
    metric = Metric("total", 2.0, "External")
    decisions = [
        Controller(Autoscaler(least, 9, (metric,), FREE, FREE)).sync(0, 0, [], {"total": 3.0}) for least in (0, 1)
    ]
    assert [(decision.replicas, decision.reason) for decision in decisions] == [
        (2, "DesiredWithinRange"), (0, "ScalingDisabled"),
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), [(2.0, "DesiredWithinRange"), (1.0, "FailedGetMetric")])
def test_a_metric_that_asks_for_no_less_stands_beside_a_missing_one(value: float, reason: str) -> None:
    """Only going down needs all of them."""
    decision = Controller(autoscaler(metrics=("busy", "waiting"))).sync(0, 4, pods(*[value] * 4))
    assert (decision.replicas, decision.reason) == (4, reason)


@pytest.mark.parametrize(
    ("value", "replicas", "reason"),
    [
        (3.0, 6, "DesiredWithinRange"),
        (4.0, 6, "ScaleUpLimit"),
        (1.5, 3, "DesiredWithinRange"),
        (1.0, 3, "ScaleDownLimit"),
    ],
)
def test_a_policy_limits_only_what_goes_beyond_it(value: float, replicas: int, reason: str) -> None:
    """From 4, two up and one down are allowed."""
    up, down = (ScalingRules(0, (Policy("Pods", pods, 60),)) for pods in (2, 1))
    decision = Controller(autoscaler(up=up, down=down)).sync(0, 4, pods(*[value] * 4))
    assert (decision.replicas, decision.reason) == (replicas, reason)


def test_going_down_the_tightest_policy_takes_the_fewest() -> None:
    """Min keeps the most replicas; Max the fewest."""
    policies = (Policy("Pods", 1, 60), Policy("Percent", 50, 60))
    replicas = [
        Controller(autoscaler(down=ScalingRules(0, policies, select))).sync(0, 10, pods(*[0.1] * 10)).replicas
        for select in ("Max", "Min", "Disabled")
    ]
    assert replicas == [5, 9, 10]


def test_a_percentage_up_rounds_up() -> None:
    """Half of 3 more is 5, as the controller does not leave a replica without a way up."""
    rules = ScalingRules(0, (Policy("Percent", 50, 60),))
    assert Controller(autoscaler(up=rules)).sync(0, 3, pods(*[100] * 3)).replicas == 5


def test_one_replica_more_counts_as_well() -> None:
    """One in a minute, and none the next moment."""
    controller = Controller(autoscaler(up=ScalingRules(0, (Policy("Pods", 1, 60),))))
    assert [controller.sync(now, current, pods(*[9] * current)).replicas for now, current in ((0, 4), (15, 5))] == [
        5,
        5,
    ]


def test_a_percentage_is_one_of_a_hundred() -> None:
    """Also of many."""
    rules = ScalingRules(0, (Policy("Percent", 100, 60),))
    assert Controller(autoscaler(most=900, up=rules)).sync(0, 200, pods(*[100] * 200)).replicas == 400


def test_what_was_taken_away_may_come_back_within_the_period() -> None:
    """A policy counts from where its period began: 8 → 4, then up to 8 + 1."""
    up, down = ScalingRules(0, (Policy("Pods", 1, 60),)), ScalingRules(0, (Policy("Pods", 4, 60),))
    controller = Controller(autoscaler(up=up, down=down))
    assert controller.sync(0, 8, pods(*[0.1] * 8)).replicas == 4
    assert controller.sync(15, 4, pods(*[100] * 4)).replicas == 9


def test_a_direction_may_have_a_tolerance_of_its_own() -> None:
    """Kubernetes 1.33 lets each direction say its own."""
    spec = autoscaler(
        up=ScalingRules(0, FREE.policies, tolerance=0.5), down=ScalingRules(0, FREE.policies, tolerance=0.0)
    )
    assert [propose(spec, spec.metrics[0], 2, pods(value, value), {}) for value in (3.0, 3.01, 1.9, 0.9)] == [
        2,
        4,
        2,
        1,
    ]


def test_the_controller_looks_every_15_seconds_with_a_tolerance_of_a_tenth() -> None:
    """Its defaults."""
    assert (SYNC_SECONDS, TOLERANCE) == (15, 0.1)


@given(
    loads=st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=60),
    least=st.integers(1, 4),
    extra=st.integers(0, 20),
)
def test_replicas_stay_within_limits_and_policies(loads: list[float], least: int, extra: int) -> None:
    """Whatever the load does, replicas stay between min and max and rise at most as the policies allow."""
    controller = Controller(autoscaler(least, least + extra, UP, DOWN))
    current = least
    for index, load in enumerate(loads):
        wanted = controller.sync(15.0 * index, current, pods(*[load / current] * current)).replicas
        assert least <= wanted <= least + extra
        assert current - 1 <= wanted <= max(current + 2, 2 * current)
        current = wanted


VALUES = st.none() | st.sampled_from(["Pending", "Failed", "Terminating"]) | st.floats(0, 10)


@given(st.integers(1, 20), st.lists(st.tuples(VALUES, st.integers(1, 4)), min_size=1, max_size=5))
def test_pods_alike_count_as_often_as_they_are(current: int, kinds: list[tuple[float | str | None, int]]) -> None:
    """Pods that are given as several alike ask for what they ask for one by one."""
    one_by_one = pods(*(value for value, alike in kinds for _ in range(alike)))
    together = [
        replace(pod, alike=alike) for pod, (_, alike) in zip(pods(*(value for value, _ in kinds)), kinds, strict=True)
    ]
    spec = autoscaler()
    asked = [propose(spec, spec.metrics[0], current, listed, {}) for listed in (one_by_one, together)]
    assert asked[0] == asked[1]
