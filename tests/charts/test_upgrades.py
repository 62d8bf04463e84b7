"""Upgrades change nothing that Kubernetes calls immutable, and releases do not get into each other's way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from chart_cases import modes
from chart_objects import Objects, matches, pod_templates, select
from chart_semantics import find_problems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Render = Callable[..., Objects]
NAMES_CHANGE = ("names=name", "names=full")  # the user asked for other objects
RELEASES = (
    "demo", "demo-triton", "demo-triton-headless", "demo-triton-repository", "a.b", "a-b", "1demo", "r1demo", "x",
    "r" + 52 * "a", "r" + 51 * "a" + "b", "a" + 25 * ".b" + ".c",
)  # fmt: skip


def immutable_fields(objects: Objects) -> dict[str, Any]:
    """What may not change between two revisions of a release, by object."""
    fields: dict[str, Any] = {}
    for item in objects:
        spec, name = item.get("spec", {}), f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "DaemonSet"):
            fields[name] = spec["selector"]
        elif item["kind"] == "Service":
            fields[name] = {"headless": spec.get("clusterIP") == "None"}
        elif item["kind"] == "PersistentVolumeClaim":
            fields[name] = {"accessModes": spec["accessModes"], "storageClassName": spec.get("storageClassName")}
        elif item["kind"] == "ResourceClaimTemplate":
            fields[name] = spec
        elif item["kind"] == "LeaderWorkerSet":
            fields[name] = {}
    return fields


def test_upgrade_from_the_previous_release(rendered: dict[str, Objects], golden: Callable[[str, str], None]) -> None:
    """The immutable fields of every mode are those of the chart's previous state."""
    fields = {name: immutable_fields(rendered[name]) for name in modes()}
    golden("charts/immutable-fields.json", json.dumps(fields, indent=1, sort_keys=True) + "\n")


def test_any_values_can_follow_any_others(rendered: dict[str, Objects]) -> None:
    """An upgrade from one set of values to another changes no immutable field of an object that stays."""
    seen: dict[str, tuple[str, Any]] = {}
    problems = []
    for case, objects in rendered.items():
        if any(part in case for part in NAMES_CHANGE):
            continue
        for name, fields in immutable_fields(objects).items():
            if not name.startswith("PersistentVolumeClaim"):  # its storage class is the user's own choice
                first, before = seen.setdefault(name, (case, fields))
                problems += [f"{name}: {first} → {case}"] if before != fields else []
    assert problems == []


@pytest.mark.parametrize("mode", ["hpa", "gke-l4", "onprem-l40", "external-secret", "multi-node-vllm"])
def test_two_releases_share_no_name(render: Render, mode: str) -> None:
    """Any two releases in one namespace make different objects, and select only their own pods."""
    releases = {name: render(modes()[mode], name=name) for name in RELEASES}
    for one, two in itertools.combinations(RELEASES, 2):
        names = [{(item["kind"], item["metadata"]["name"]) for item in releases[name]} for name in (one, two)]
        assert names[0] & names[1] == set()
        for service in select(releases[one], "Service"):
            assert not any(matches(pod.labels, service["spec"]["selector"]) for pod in pod_templates(releases[two]))


release_names = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,2}", fullmatch=True
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=release_names.filter(lambda name: len(name) <= 53))
def test_any_release_name_works(render: Render, name: str) -> None:
    """Long names, dots and leading digits, all of which helm takes, make legal objects."""
    objects = render(modes()["hpa"], name=name)
    assert find_problems(objects) == []
    assert all(len(item["metadata"]["name"]) <= 60 for item in objects)
