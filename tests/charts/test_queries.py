"""The chart's queries and autoscalers: filled in, and those that are replayed and evaluated elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from chart_cases import CHART

from serve_deploy.autoscaling.hpa import Autoscaler, ScalingRules
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler
from serve_deploy.cluster.state.autoscaler import parse_quantity

Render = Callable[..., list[dict[str, Any]]]

MODELS = ["ensemble.v1", "digits"]
_TOKENS = ("Tokens generated", "Time to first token, p99", "Between tokens, p99")
SCALING = {"metrics": {"concurrency": {"target": 2.5}, "pending": {"target": 1.5}}, "maxReplicas": 8}
TARGETS = ScalingTargets(concurrency=2.5, pending=1.5, min_replicas=2, max_replicas=8)


def one(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(suffix))
    return found


def behavior(scaler: Autoscaler) -> dict[str, Any]:
    """An autoscaler's pace as a manifest says it."""

    def rules(direction: ScalingRules) -> dict[str, Any]:
        policies = [
            {"type": each.kind, "value": each.value, "periodSeconds": each.period_seconds}
            for each in direction.policies
        ]
        window = direction.stabilization_seconds
        return {"stabilizationWindowSeconds": window, "selectPolicy": direction.select, "policies": policies}

    return {"scaleUp": rules(scaler.scale_up), "scaleDown": rules(scaler.scale_down)}


def test_alerts_that_lack_their_metrics_are_left_out(render: Render) -> None:
    """Without an autoscaler, kube-state-metrics or latency summaries, no alert asks for them."""
    monitoring = {"prometheusRule": {"enabled": True, "alerts": {"kubeStateMetrics": False}}}
    groups = one(render({"monitoring": monitoring}), "PrometheusRule")["spec"]["groups"]
    text = json.dumps(groups)
    assert "kube_" not in text
    assert "summary_us" not in text
    assert "TritonScalingMetricMissing" not in text


def test_dashboard_is_filled_in(render: Render) -> None:
    """The dashboard's formulas stand over Grafana's variables and the release's models; nothing is left to fill in."""
    objects = render({"models": {"topLevel": MODELS}, "monitoring": {"dashboard": {"enabled": True}}})
    (text,) = one(objects, "ConfigMap", "-dashboard")["data"].values()
    queries = [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]
    assert any("nv_inference_request_duration_us" in query and "[$__rate_interval]" in query for query in queries)
    (variable,) = (each for each in json.loads(text)["templating"]["list"] if each["name"] == "model")
    assert "model=~'ensemble\\\\.v1|digits'" in variable["definition"]
    assert not re.search(r"(?<!\$)__[a-zA-Z_]+__", text)


def test_hpa_is_the_autoscaler_that_is_replayed(render: Render) -> None:
    """The rendered HorizontalPodAutoscaler is, field by field, what the replays and decisions were computed for."""
    values = {"autoscaling": SCALING | {"mode": "hpa", "coldStartSeconds": 240}}
    spec, scaler = one(render(values), "HorizontalPodAutoscaler")["spec"], autoscaler(TARGETS, 240)
    assert (spec["minReplicas"], spec["maxReplicas"]) == (scaler.min_replicas, scaler.max_replicas)
    assert spec["behavior"] == behavior(scaler)
    targets = {each["pods"]["metric"]["name"]: each["pods"]["target"]["averageValue"] for each in spec["metrics"]}
    assert {name: parse_quantity(value) for name, value in targets.items()} == {
        metric.name: metric.target for metric in scaler.metrics
    }


def test_scaled_object_is_the_autoscaler_that_is_replayed(render: Render) -> None:
    """KEDA gets the same targets and behavior, and totals over the release's pods."""
    scaling = SCALING | {"mode": "keda", "coldStartSeconds": 240, "prometheus": {"serverAddress": "http://p:9090"}}
    spec = one(render({"models": {"topLevel": MODELS}, "autoscaling": scaling}), "ScaledObject")["spec"]
    scaler = autoscaler(TARGETS, 240, keda=True)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (scaler.min_replicas, scaler.max_replicas)
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == behavior(scaler)
    assert {each["name"]: float(each["metadata"]["threshold"]) for each in spec["triggers"]} == {
        metric.name: metric.target for metric in scaler.metrics
    }
    assert all("by ()" in each["metadata"]["query"] for each in spec["triggers"])


def test_multi_node_vllm_is_scaled_on_its_own_metrics(render: Render) -> None:
    """Triton's vLLM backend is always decoupled, so nothing else is taken unless it is named."""
    group = {"multiNode": {"enabled": True}, "gpu": {"profile": "h100", "count": 8}}
    hpa = one(render(group | {"autoscaling": {"mode": "hpa"}}), "HorizontalPodAutoscaler")
    names = [each["pods"]["metric"]["name"] for each in hpa["spec"]["metrics"]]
    assert names == ["triton_concurrency_vllm_backend", "triton_pending_vllm_backend"]
    own = {"mode": "hpa", "metrics": {"decoupled": {"exporter": "gauge", "metric": "app:streams"}}}
    hpa = one(render(group | {"autoscaling": own}), "HorizontalPodAutoscaler")
    assert [each["pods"]["metric"]["name"] for each in hpa["spec"]["metrics"]] == [
        "triton_concurrency_app_streams", "triton_pending",
    ]  # fmt: skip


def test_triggers_alone_scale_on_nothing_of_triton(render: Render) -> None:
    """What a gateway sees, and no metric of the pods."""
    gateway = {"type": "prometheus", "metadata": {"query": "sum(envoy_cluster_upstream_rq_active)", "threshold": "8"}}
    scaling = {"mode": "keda", "metrics": {"source": "triggers"}, "keda": {"triggers": [gateway]}}
    assert one(render({"autoscaling": scaling}), "ScaledObject")["spec"]["triggers"] == [gateway]


@pytest.mark.parametrize(
    ("exporter", "titles"),
    [
        ("", set()),
        ("gauge", set()),
        ("tensorrtllm", {"Running and waiting", "KV cache"}),
        ("vllm-backend", {*_TOKENS, "Running and waiting"}),
        ("vllm", {*_TOKENS, "Running and waiting", "KV cache"}),
    ],
)  # fmt: skip
def test_dashboard_shows_what_the_exporter_tells(render: Render, exporter: str, titles: set[str]) -> None:
    """A panel for each of its figures; panels have places and numbers of their own."""
    decoupled = {"exporter": exporter, "metric": "x" if exporter == "gauge" else ""}
    values = {"autoscaling": {"metrics": {"decoupled": decoupled}}, "monitoring": {"dashboard": {"enabled": True}}}
    (text,) = one(render(values), "ConfigMap", "-dashboard")["data"].values()
    panels = json.loads(text)["panels"]
    plain = {panel["title"] for panel in json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]}
    assert {panel["title"] for panel in panels} - plain - {"Token streams"} == titles
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert set(re.findall(r"(?<!\$)__[a-zA-Z_]+__", text)) <= {"__name__"}
