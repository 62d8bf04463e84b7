"""What an API server refuses beyond its schemas: names, lengths, duplicates, orders of values. Yields sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from chart_objects import Objects, pod_templates, select

from serve_deploy.cluster.state.autoscaler import parse_quantity

_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_PORT_NAME = re.compile(r"^(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$")
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_CONFIG_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")
_ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")


def find_rejections(objects: Objects) -> list[str]:
    """What a server-side dry run of these objects would be refused for."""
    return [problem for rule in (_metadata, _pods, _config_maps, _autoscalers) for problem in rule(objects)]


def _twice(names: list[str], what: str) -> Iterator[str]:
    yield from (f"{what} {name} is there {count} times" for name, count in Counter(names).items() if count > 1)


def _metadata(objects: Objects) -> Iterator[str]:
    for item in objects:
        meta = item["metadata"]
        for key, value in meta.get("labels", {}).items():
            if not _LABEL_KEY.match(key) or not _LABEL_VALUE.match(value):
                yield f"{meta['name']}: label {key}={value}"
        notes = meta.get("annotations", {})
        yield from (f"{meta['name']}: annotation {key}" for key in notes if not _LABEL_KEY.match(key))
        if sum(len(key) + len(value) for key, value in notes.items()) > 256 * 1024:
            yield f"{meta['name']}: annotations over 256 KiB"


def _pods(objects: Objects) -> Iterator[str]:
    for template in pod_templates(objects):
        spec, owner = template.spec, template.owner["metadata"]["name"]
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        yield from _twice([each["name"] for each in containers], f"{owner}: container")
        yield from _twice([each["name"] for each in spec.get("volumes", [])], f"{owner}: volume")
        ports = [port for each in spec["containers"] for port in each.get("ports", [])]
        yield from _twice([str(port["containerPort"]) for port in ports], f"{owner}: port")
        yield from (f"{owner}: port name {port['name']}" for port in ports if not _PORT_NAME.match(port["name"]))
        named = [each["name"] for each in [*containers, *spec.get("volumes", [])]]
        yield from (f"{owner}: name {name}" for name in named if not _DNS_LABEL.match(name))
        spread = [(s["topologyKey"], s["whenUnsatisfiable"]) for s in spec.get("topologySpreadConstraints", [])]
        yield from _twice([str(each) for each in spread], f"{owner}: spread")
        for container in containers:
            yield from (f"{owner}/{container['name']}: {problem}" for problem in _container(container, spec))


def _container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    names = [each["name"] for each in container.get("env", [])]
    yield from _twice(names, "variable")
    yield from (f"variable {name}" for name in names if not _ENV_NAME.match(name))
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    for name, limit in limits.items():
        if parse_quantity(requests.get(name, limit)) > parse_quantity(limit):
            yield f"requests more {name} than its limit"
        if "/" in name and requests.get(name) != limit:
            yield f"extended resource {name} is overcommitted"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        fields = container.get(probe, {})
        if any(fields.get(name, 1) < 1 for name in ("periodSeconds", "timeoutSeconds", "failureThreshold")):
            yield f"{probe} has a value below 1"
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if sleep > spec.get("terminationGracePeriodSeconds", 30):
        yield "sleeps longer than its grace period"


def _config_maps(objects: Objects) -> Iterator[str]:
    for item in select(objects, "ConfigMap"):
        data = {**item.get("data", {}), **item.get("binaryData", {})}
        yield from (f"ConfigMap key {key}" for key in data if not _CONFIG_KEY.match(key))
        if sum(map(len, data.values())) > 1024 * 1024:
            yield f"ConfigMap {item['metadata']['name']} is over 1 MiB"


def _autoscalers(objects: Objects) -> Iterator[str]:
    for item in select(objects, "HorizontalPodAutoscaler"):
        spec = item["spec"]
        if not 1 <= spec["minReplicas"] <= spec["maxReplicas"]:
            yield f"minReplicas {spec['minReplicas']}, maxReplicas {spec['maxReplicas']}"
        for direction in spec["behavior"].values():
            if not 0 <= direction["stabilizationWindowSeconds"] <= 3600:
                yield f"window of {direction['stabilizationWindowSeconds']} s"
            if any(p["value"] < 1 or not 1 <= p["periodSeconds"] <= 1800 for p in direction["policies"]):
                yield "policy out of range"
        if any(
            parse_quantity(m["pods"]["target"]["averageValue"]) <= 0 for m in spec["metrics"] if m["type"] == "Pods"
        ):
            yield "target of 0"
