"""The chart's queries are those that the Python tests evaluate: both sides assemble the same files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve_deploy.autoscaling.promql import (
    AlertSettings,
    Scope,
    alert_rules,
    dashboard,
    formula,
    model_pattern,
    read_queries,
    recording_rules,
)
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler, read_hpa, read_scaled_object

Render = Callable[..., list[dict[str, Any]]]

CHART = Path(__file__).parents[2] / "charts" / "triton"
QUERIES = read_queries(CHART)
MODELS = ["ensemble.v1", "digits"]
SCOPE = Scope("namespace='models',pod=~'demo-triton-[a-z0-9]+-[a-z0-9]{5}'", model_pattern(MODELS))
SCALING = {"metrics": {"concurrency": {"target": 2.5}, "pending": {"target": 1.5}}, "maxReplicas": 8}
TARGETS = ScalingTargets(concurrency=2.5, pending=1.5, min_replicas=2, max_replicas=8)


def one(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(suffix))
    return found


def test_rules_are_the_shipped_files(render: Render) -> None:
    """The PrometheusRule holds the records and alerts that promtool tests, over this release's pods and models."""
    monitoring = {"prometheusRule": {"enabled": True, "alerts": {"p99BudgetMs": 500, "pendingBudget": 4}}}
    objects = render(
        {
            "models": {"topLevel": MODELS}, "monitoring": monitoring, "server": {"summaryLatencies": True},
            "probes": {"startupBudgetSeconds": 600}, "autoscaling": SCALING | {"mode": "hpa"},
        }
    )  # fmt: skip
    records, alerts = (group["rules"] for group in one(objects, "PrometheusRule")["spec"]["groups"])
    settings = AlertSettings("models", "demo-triton", model_count=2, not_ready_for="1200s")
    assert records == recording_rules(QUERIES, SCOPE)
    expected = alert_rules(QUERIES, SCOPE, settings)
    assert [rule["alert"] for rule in alerts] == [rule["alert"] for rule in expected]
    for rendered, ours in zip(alerts, expected, strict=True):
        assert _numbers_alike(rendered["expr"]) == _numbers_alike(ours["expr"])
        assert rendered["for"] == ours["for"]
        assert rendered["annotations"].keys() == ours["annotations"].keys()


def _numbers_alike(text: str) -> str:
    return re.sub(r"\b\d+(\.\d+)?\b", lambda number: f"{float(number[0]):g}", " ".join(text.split()))


def test_alerts_that_lack_their_metrics_are_left_out(render: Render) -> None:
    """Without an autoscaler, kube-state-metrics or latency summaries, no alert asks for them."""
    monitoring = {"prometheusRule": {"enabled": True, "alerts": {"kubeStateMetrics": False}}}
    groups = one(render({"monitoring": monitoring}), "PrometheusRule")["spec"]["groups"]
    text = json.dumps(groups)
    assert "kube_" not in text
    assert "summary_us" not in text
    assert "TritonScalingMetricMissing" not in text


def test_dashboard_is_the_shipped_file(render: Render) -> None:
    """The dashboard's formulas are filled in by Helm as by Python, and nothing is left to fill in."""
    objects = render({"models": {"topLevel": MODELS}, "monitoring": {"dashboard": {"enabled": True}}})
    (text,) = one(objects, "ConfigMap", "-dashboard")["data"].values()
    rendered = json.loads(text)
    source = (CHART / "files" / "dashboard.json").read_text()
    models = model_pattern(MODELS)
    assert text == dashboard(source, QUERIES, uid=rendered["uid"], title=rendered["title"], models=models)
    assert not re.search(r"(?<!\$)__[a-zA-Z_]+__", text)


def test_hpa_is_the_autoscaler_that_is_replayed(render: Render) -> None:
    """The rendered HorizontalPodAutoscaler is, field by field, what the replays and decisions were computed for."""
    values = {"autoscaling": SCALING | {"mode": "hpa", "coldStartSeconds": 240}}
    assert read_hpa(one(render(values), "HorizontalPodAutoscaler")) == autoscaler(TARGETS, 240)


def test_adapter_rules_are_the_formulas(render: Render) -> None:
    """prometheus-adapter computes the same formulas, with its own label matchers and grouping in them."""
    config = one(render({"autoscaling": SCALING | {"mode": "hpa"}}), "ConfigMap", "-adapter-rules")["data"][
        "config.yaml"
    ]
    scope = Scope(selector="<<.LabelMatchers>>")
    for name in ("concurrency", "pending"):
        assert json.dumps(formula(QUERIES.formulas[name], scope, ["<<.GroupBy>>"]))[1:-1] in config


def test_scaled_object_is_the_autoscaler_that_is_replayed(render: Render) -> None:
    """KEDA gets the same targets and behavior, and the formulas as totals over the release's pods."""
    scaling = SCALING | {"mode": "keda", "coldStartSeconds": 240, "prometheus": {"serverAddress": "http://p:9090"}}
    scaled = one(render({"models": {"topLevel": MODELS}, "autoscaling": scaling}), "ScaledObject")
    assert read_scaled_object(scaled) == autoscaler(TARGETS, 240, keda=True)
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    assert queries == [formula(QUERIES.formulas[name], SCOPE) for name in ("concurrency", "pending")]
