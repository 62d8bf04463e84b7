"""Read rendered objects: parse strictly, find pods, walk all strings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Objects = list[dict[str, Any]]
LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}  # put on by the controller


class UniqueKeyLoader(yaml.CSafeLoader):
    """A YAML loader that refuses a key given twice, which Kubernetes' own parser would silently drop."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: keys given twice: {sorted(twice)}")
        return super().construct_mapping(node, deep)


def parse(text: str) -> Objects:
    """Parse a manifest into its objects."""
    return [document for document in yaml.load_all(text, UniqueKeyLoader) if document]


def select(objects: Objects, *kinds: str) -> Objects:
    """The objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


@dataclass(frozen=True)
class Template:
    """A pod template with the object that it stands in and the labels that its pods will have."""

    owner: dict[str, Any]
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def serves(self) -> bool:
        """Whether requests are sent to its pods."""
        return "startupProbe" in self.spec["containers"][0]


def pod_templates(objects: Objects) -> list[Template]:
    """Every pod template of every kind that makes pods."""
    found = []
    for item in objects:
        spec = item.get("spec", {})
        if item["kind"] in ("Deployment", "DaemonSet", "Job"):
            found.append(_template(item, spec["template"], {}))
        elif item["kind"] == "LeaderWorkerSet":
            group = spec["leaderWorkerTemplate"]
            found.append(_template(item, group["leaderTemplate"], LEADER))
            found.append(_template(item, group["workerTemplate"], {next(iter(LEADER)): "1"}))
        elif item["kind"] == "Pod":
            found.append(_template(item, item, {}))
    return found


def _template(owner: dict[str, Any], template: dict[str, Any], more: dict[str, str]) -> Template:
    return Template(owner, {**template["metadata"].get("labels", {}), **more}, template["spec"])


def matches(labels: dict[str, str], selector: dict[str, Any]) -> bool:
    """Whether a selector, with or without matchLabels, picks these labels."""
    wanted = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    return all(labels.get(key) == value for key, value in wanted.items())


def strings(node: Any) -> Iterator[str]:
    """Every string in a document, keys included."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(node, list):
        for item in node:
            yield from strings(item)
    elif isinstance(node, str):
        yield node
