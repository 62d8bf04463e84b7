"""The queries of a rendered chart's autoscaler, as KEDA or prometheus-adapter sends them."""

from __future__ import annotations

from typing import Any

import yaml


def keda_queries(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The query of each of KEDA's metrics, by its name."""
    (scaled,) = (item for item in objects if item["kind"] == "ScaledObject")
    return {each["name"]: each["metadata"]["query"] for each in scaled["spec"]["triggers"]}


def adapter_queries(objects: list[dict[str, Any]], pods: list[str]) -> dict[str, str]:
    """The query of each of the HPA's metrics, by its name, filled in for these pods as prometheus-adapter does."""
    (config,) = (item for item in objects if item["metadata"]["name"].endswith("-adapter-rules"))
    (hpa,) = (item for item in objects if item["kind"] == "HorizontalPodAutoscaler")
    rules = {rule["name"]["as"]: rule for rule in yaml.safe_load(config["data"]["config.yaml"])["rules"]}
    found = {}
    for metric in (each["pods"]["metric"] for each in hpa["spec"]["metrics"]):
        matchers = f'namespace="{hpa["metadata"]["namespace"]}",pod=~"{"|".join(pods)}"'
        for each in metric.get("selector", {}).get("matchExpressions", []):
            matchers += f',{each["key"]}=~"{"|".join(each["values"])}"'
        query = rules[metric["name"]]["metricsQuery"].replace("<<.LabelMatchers>>", matchers)
        found[metric["name"]] = query.replace("<<.GroupBy>>", "pod")
    return found
