"""Autoscaler settings, read and made."""

from __future__ import annotations

import pytest

from serve_deploy.autoscaling.hpa import Autoscaler, Metric, Policy, ScalingRules
from serve_deploy.autoscaling.targets import (
    ScalingTargets,
    autoscaler,
    parse_quantity,
    read_hpa,
    read_scaled_object,
    scale_down_rules,
)
from serve_deploy.errors import UsageError

TARGETS = ScalingTargets(concurrency=2.5, pending=1.0, min_replicas=2, max_replicas=8)
BEHAVIOR = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 2, "periodSeconds": 60},
            {"type": "Percent", "value": 100, "periodSeconds": 60},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}


def test_hpa_manifest_reads_as_the_autoscaler_we_mean() -> None:
    """A HorizontalPodAutoscaler with our behavior is the autoscaler that our settings make."""
    metrics = [
        {"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": value}}}
        for name, value in (("triton_concurrency", "2500m"), ("triton_pending", "1"))
    ]
    manifest = {"spec": {"minReplicas": 2, "maxReplicas": 8, "metrics": metrics, "behavior": BEHAVIOR}}
    assert read_hpa(manifest) == autoscaler(TARGETS, cold_start_seconds=60)


def test_scaled_object_reads_as_external_metrics() -> None:
    """KEDA's Prometheus triggers become external metrics under the same behavior."""
    triggers = [
        {"type": "prometheus", "name": name, "metadata": {"threshold": value}}
        for name, value in (("triton_concurrency", "2.5"), ("triton_pending", "1"))
    ]
    advanced = {"horizontalPodAutoscalerConfig": {"behavior": BEHAVIOR}}
    spec = {"minReplicaCount": 2, "maxReplicaCount": 8, "advanced": advanced, "triggers": triggers}
    assert read_scaled_object({"spec": spec}) == autoscaler(TARGETS, cold_start_seconds=60, keda=True)


def test_defaults_of_a_bare_hpa() -> None:
    """Where the manifest is silent, Kubernetes' defaults hold: doubling or 4 pods in 15 s up, all in 15 s down."""
    metric = {"type": "External", "external": {"metric": {"name": "x"}, "target": {"averageValue": "3"}}}
    assert read_hpa({"spec": {"maxReplicas": 3, "metrics": [metric]}}) == Autoscaler(
        1,
        3,
        (Metric("x", 3.0, "External"),),
        ScalingRules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15))),
        ScalingRules(300, (Policy("Percent", 100, 15),)),
    )


@pytest.mark.parametrize(("cold_start", "window"), [(10, 300), (150, 300), (400, 800), (3000, 3600)])
def test_scale_down_window_follows_the_cold_start(cold_start: float, window: int) -> None:
    """Twice the cold start, at least 300 s, and never more than the API's 3600 s."""
    assert scale_down_rules(cold_start).stabilization_seconds == window


@pytest.mark.parametrize(("least", "most"), [(0, 3), (4, 3)])
def test_contradicting_replicas_are_refused(least: int, most: int) -> None:
    """Zero needs a signal from outside the pods, and min may not exceed max."""
    with pytest.raises(UsageError, match=f"min replicas {least} and max replicas {most}"):
        autoscaler(ScalingTargets(concurrency=1, pending=1, min_replicas=least, max_replicas=most), 60)


@pytest.mark.parametrize(("text", "value"), [("250m", 0.25), ("3", 3.0), (2, 2.0), ("4Gi", 4 * 2**30), ("1k", 1000.0)])
def test_quantities(text: str | int, value: float) -> None:
    """Kubernetes' notation of numbers."""
    assert parse_quantity(text) == value
