"""What the HorizontalPodAutoscaler controller decides, computed as it does.

Read in kubernetes/kubernetes, pkg/controller/podautoscaler, as of 1.33: replica_calculator.go
(calcPlainMetricReplicas, groupPods, GetExternalPerPodMetricReplicas, Tolerances.isWithin) and horizontal.go
(computeReplicasForMetrics, stabilizeRecommendationWithBehaviors, convertDesiredReplicasWithBehaviorRate).
Times are seconds on any clock that only moves forward; metric values go in thousandths, rounded up, as they do there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

SYNC_SECONDS = 15
TOLERANCE = 0.1


@dataclass(frozen=True)
class Policy:
    """At most `value` pods, or percent of the replicas, in each period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_seconds: int


@dataclass(frozen=True)
class ScalingRules:
    """One direction's behavior; `select` says which policy wins, Disabled forbids the direction."""

    stabilization_seconds: int
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Metric:
    """Pods: the average over pods is held at the target. External: the sum over all divided by the target."""

    name: str
    target: float
    kind: Literal["Pods", "External"] = "Pods"


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler's specification."""

    min_replicas: int
    max_replicas: int
    metrics: tuple[Metric, ...]
    scale_up: ScalingRules
    scale_down: ScalingRules


@dataclass(frozen=True)
class Pod:
    """A pod of the scale target, or several alike: the phase, and the value of each metric that has one."""

    name: str
    phase: Literal["Pending", "Running", "Failed", "Terminating"] = "Running"
    values: Mapping[str, float] = field(default_factory=dict)
    alike: int = 1


@dataclass(frozen=True)
class Decision:
    """Replicas asked for, with what each metric proposed (None: it could not be read) and why."""

    replicas: int
    proposals: Mapping[str, int | None]
    reason: str


@dataclass
class Controller:
    """The controller's memory of one autoscaler; `sync` is one reconciliation."""

    autoscaler: Autoscaler
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    scale_ups: list[tuple[float, int]] = field(default_factory=list)
    scale_downs: list[tuple[float, int]] = field(default_factory=list)

    def sync(
        self, now: float, current: int, pods: Sequence[Pod], externals: Mapping[str, float] | None = None
    ) -> Decision:
        """Decide the replicas at a time from what the metrics read; remembers recommendations and rescales."""
        spec = self.autoscaler
        if not self.recommendations:
            self.recommendations.append((now, current))
        proposals = {metric.name: propose(spec, metric, current, pods, externals or {}) for metric in spec.metrics}
        if current == 0 and spec.min_replicas != 0:
            return Decision(0, proposals, "ScalingDisabled")
        if current > spec.max_replicas:
            return self._rescale(now, current, Decision(spec.max_replicas, proposals, "above maxReplicas"))
        if current < spec.min_replicas:
            return self._rescale(now, current, Decision(spec.min_replicas, proposals, "below minReplicas"))
        known = [proposal for proposal in proposals.values() if proposal is not None]
        if not known or (len(known) < len(proposals) and max(known) < current):
            return Decision(current, proposals, "FailedGetMetric")
        stabilized = self._stabilize(now, current, max(known))
        replicas, reason = self._limit(now, current, stabilized)
        if reason == "DesiredWithinRange" and stabilized != max(known):
            reason = "ScaleUpStabilized" if max(known) >= current else "ScaleDownStabilized"
        return self._rescale(now, current, Decision(replicas, proposals, reason))

    def _rescale(self, now: float, current: int, decision: Decision) -> Decision:
        change = decision.replicas - current
        if change > 0:
            self.scale_ups.append((now, change))
        elif change < 0:
            self.scale_downs.append((now, -change))
        return decision

    def _stabilize(self, now: float, current: int, desired: int) -> int:
        up_window = self.autoscaler.scale_up.stabilization_seconds
        down_window = self.autoscaler.scale_down.stabilization_seconds
        lowest = min([desired, *(n for at, n in self.recommendations if at > now - up_window)])
        highest = max([desired, *(n for at, n in self.recommendations if at > now - down_window)])
        oldest = now - max(up_window, down_window)
        self.recommendations = [(at, n) for at, n in self.recommendations if at >= oldest]
        self.recommendations.append((now, desired))
        return min(max(current, lowest), highest)

    def _limit(self, now: float, current: int, desired: int) -> tuple[int, str]:
        spec = self.autoscaler
        if desired > current:
            allowed = min(max(self._furthest(now, current, spec.scale_up, 1), current), spec.max_replicas)
            if desired > allowed:
                return allowed, "ScaleUpLimit" if allowed < spec.max_replicas else "TooManyReplicas"
        elif desired < current:
            allowed = max(min(self._furthest(now, current, spec.scale_down, -1), current), spec.min_replicas)
            if desired < allowed:
                return allowed, "ScaleDownLimit" if allowed > spec.min_replicas else "TooFewReplicas"
        return desired, "DesiredWithinRange"

    def _furthest(self, now: float, current: int, rules: ScalingRules, direction: Literal[1, -1]) -> int:
        """The replicas that the policies allow; a period's start counts what was added and taken away since."""
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            start = current - _changes(self.scale_ups, now, policy) + _changes(self.scale_downs, now, policy)
            if policy.kind == "Pods":
                limits.append(start + direction * policy.value)
            else:
                share = start * (1 + direction * policy.value / 100)
                limits.append(math.ceil(share) if direction > 0 else int(share))
        widest = max if direction > 0 else min
        tightest = min if direction > 0 else max
        return tightest(limits) if rules.select == "Min" else widest(limits)


def propose(
    spec: Autoscaler, metric: Metric, current: int, pods: Sequence[Pod], externals: Mapping[str, float]
) -> int | None:
    """The replicas that one metric asks for; None where it cannot be read."""
    if metric.kind == "External":
        total = externals.get(metric.name)
        return None if total is None else _propose_for_total(spec, metric, current, _milli(total))
    return _propose_for_pods(spec, metric, current, pods)


def _propose_for_total(spec: Autoscaler, metric: Metric, current: int, total: int) -> int:
    target = _milli(metric.target)
    if current and _within(spec, total / (target * current)):
        return current
    return math.ceil(total / target)


def _propose_for_pods(spec: Autoscaler, metric: Metric, current: int, pods: Sequence[Pod]) -> int | None:
    waiting = sum(pod.alike for pod in pods if pod.phase == "Pending")
    running = [pod for pod in pods if pod.phase == "Running"]
    read = [(_milli(pod.values[metric.name]), pod.alike) for pod in running if metric.name in pod.values]
    if not read:
        return None
    target = _milli(metric.target)
    total, count = sum(value * alike for value, alike in read), sum(alike for _, alike in read)
    ratio = total // count / target
    missing = sum(pod.alike for pod in running) - count
    up_with_waiting = bool(waiting) and ratio > 1
    if not up_with_waiting and not missing:
        return current if _within(spec, ratio) else math.ceil(ratio * count)
    # Pods without a value are taken to be such that they dampen the move: at the target going down, idle going up.
    if ratio < 1:
        total += target * missing
    count += missing if ratio != 1 else 0
    if up_with_waiting:
        count += waiting
    dampened = total // count / target
    if _within(spec, dampened) or (ratio < 1 < dampened) or (dampened < 1 < ratio):
        return current
    replicas = math.ceil(dampened * count)
    turned = (dampened < 1 and replicas > current) or (dampened > 1 and replicas < current)
    return current if turned else replicas


def _within(spec: Autoscaler, ratio: float) -> bool:
    return 1.0 - spec.scale_down.tolerance <= ratio <= 1.0 + spec.scale_up.tolerance


def _milli(value: float) -> int:
    # A Quantity of finer grain is rounded up to thousandths; the second rounding undoes binary fractions of decimals.
    return math.ceil(round(value * 1000, 6))


def _changes(events: Sequence[tuple[float, int]], now: float, policy: Policy) -> int:
    return sum(change for at, change in events if at > now - policy.period_seconds)
