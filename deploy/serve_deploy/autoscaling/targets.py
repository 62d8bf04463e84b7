"""Autoscaler settings: how many replicas at least and at most, held at which targets, moving how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serve_deploy.autoscaling.hpa import MAX_WINDOW_SECONDS, TOLERANCE, Autoscaler, Metric, Policy, ScalingRules
from serve_deploy.errors import UsageError

CONCURRENCY = "triton_concurrency"
PENDING = "triton_pending"
SCALE_DOWN_WINDOW_SECONDS = 300

# The HPA's defaults where a direction says nothing of its policies (kubernetes docs, "Default Behavior").
_DEFAULT_UP = (Policy("Percent", 100, 15), Policy("Pods", 4, 15))
_DEFAULT_DOWN = (Policy("Percent", 100, 15),)


@dataclass(frozen=True, kw_only=True)
class ScalingTargets:
    """What the autoscaler holds: mean requests in flight and mean requests waiting, each per replica."""

    concurrency: float
    pending: float
    min_replicas: int
    max_replicas: int


def scale_up_rules() -> ScalingRules:
    """At once, but capped, since concurrency explodes near the knee: two pods or a doubling in a minute."""
    return ScalingRules(0, (Policy("Pods", 2, 60), Policy("Percent", 100, 60)))


def scale_down_rules(cold_start_seconds: float) -> ScalingRules:
    """Slowly: one pod in two minutes, and only what was not needed for twice the time a new replica takes."""
    window = min(max(SCALE_DOWN_WINDOW_SECONDS, math.ceil(2 * cold_start_seconds)), MAX_WINDOW_SECONDS)
    return ScalingRules(window, (Policy("Pods", 1, 120),))


def autoscaler(targets: ScalingTargets, cold_start_seconds: float, *, keda: bool = False) -> Autoscaler:
    """The autoscaler that the chart makes of these targets; raises UsageError for replicas that contradict."""
    if not 1 <= targets.min_replicas <= targets.max_replicas:
        raise UsageError(
            f"min replicas {targets.min_replicas} and max replicas {targets.max_replicas} contradict each other",
            hint="1 <= min <= max; scaling to zero needs a signal from outside the pods",
        )
    kind: Literal["Pods", "External"] = "External" if keda else "Pods"
    return Autoscaler(
        targets.min_replicas,
        targets.max_replicas,
        (Metric(CONCURRENCY, targets.concurrency, kind), Metric(PENDING, targets.pending, kind)),
        scale_up_rules(),
        scale_down_rules(cold_start_seconds),
    )


def read_hpa(manifest: Mapping[str, Any]) -> Autoscaler:
    """The autoscaler that a HorizontalPodAutoscaler (autoscaling/v2) describes, with the API's defaults filled in."""
    spec = manifest["spec"]
    metrics = tuple(_read_metric(metric) for metric in spec["metrics"])
    behavior = spec.get("behavior", {})
    return Autoscaler(
        spec.get("minReplicas", 1),
        spec["maxReplicas"],
        metrics,
        _read_rules(behavior.get("scaleUp", {}), 0, _DEFAULT_UP),
        _read_rules(behavior.get("scaleDown", {}), SCALE_DOWN_WINDOW_SECONDS, _DEFAULT_DOWN),
    )


def read_scaled_object(manifest: Mapping[str, Any]) -> Autoscaler:
    """The autoscaler that KEDA's operator makes of a ScaledObject; triggers are external metrics by their `name`."""
    spec = manifest["spec"]
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    metrics = tuple(
        Metric(trigger.get("name", f"s{index}"), float(trigger["metadata"]["threshold"]), "External")
        for index, trigger in enumerate(spec["triggers"])
        if trigger["type"] == "prometheus"
    )
    return Autoscaler(
        max(spec.get("minReplicaCount", 0), 1),
        spec.get("maxReplicaCount", 100),
        metrics,
        _read_rules(behavior.get("scaleUp", {}), 0, _DEFAULT_UP),
        _read_rules(behavior.get("scaleDown", {}), SCALE_DOWN_WINDOW_SECONDS, _DEFAULT_DOWN),
    )


def parse_quantity(text: str | float) -> float:
    """A Kubernetes quantity as a number: 250m is 0.25, 4Gi is 4294967296."""
    text = str(text)
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


_SUFFIXES = {
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
    "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip


def _read_metric(metric: Mapping[str, Any]) -> Metric:
    if metric["type"] == "Pods":
        return Metric(metric["pods"]["metric"]["name"], parse_quantity(metric["pods"]["target"]["averageValue"]))
    if metric["type"] == "External":
        external = metric["external"]
        return Metric(external["metric"]["name"], parse_quantity(external["target"]["averageValue"]), "External")
    raise UsageError(f"cannot compute what a metric of type {metric['type']} asks for")


def _read_rules(rules: Mapping[str, Any], window: int, policies: tuple[Policy, ...]) -> ScalingRules:
    read = tuple(Policy(each["type"], each["value"], each["periodSeconds"]) for each in rules.get("policies", ()))
    return ScalingRules(
        rules.get("stabilizationWindowSeconds", window),
        read or policies,
        rules.get("selectPolicy", "Max"),
        parse_quantity(rules.get("tolerance", TOLERANCE)),
    )
