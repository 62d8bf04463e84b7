"""Every mode of ci/ and every pair of toggles: both helms take it, the schemas do, and the objects fit together."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from api_rules import find_rejections
from chart_cases import CHART, KUBERNETES, TOGGLES, all_cases, find_uncovered_pairs, merge, modes, rows
from chart_helm import run_helm
from chart_objects import Objects, parse, pod_templates, select
from chart_semantics import find_problems
from crd_schemas import SPECS, find_schema_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from pod_security import find_violations

Helm = Callable[..., subprocess.CompletedProcess[str]]
cases = pytest.mark.parametrize("case", [pytest.param(name, id=name.split(":")[0]) for name in all_cases()])


@cases
def test_objects_fit_together(rendered: dict[str, Objects], case: str) -> None:
    """Ports, selectors, volumes, scale targets, grace periods, budgets, routes and metrics refer to what exists."""
    assert find_problems(rendered[case]) == [], case


@cases
def test_no_rule_of_the_api_server_is_broken(rendered: dict[str, Objects], case: str) -> None:
    """Names, lengths, duplicates and orders of values that no schema holds, as far as they are known here."""
    assert find_rejections(rendered[case]) == [], case


@cases
def test_pods_are_restricted(rendered: dict[str, Objects], case: str) -> None:
    """Pod Security "restricted" admits every pod, also those inside a LeaderWorkerSet."""
    violations = [each for template in pod_templates(rendered[case]) for each in find_violations(template.spec)]
    assert violations == [], case


def test_custom_resources_match_their_schemas(rendered: dict[str, Objects]) -> None:
    """No unknown field, wrong type or missing field; and every kind with a schema is made by some case."""
    items = [item for objects in rendered.values() for item in objects if not _is_built_in(item)]
    assert {(item["apiVersion"], item["kind"]) for item in items} == set(SPECS)
    assert [error for item in items for error in find_schema_errors(item)] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_built_in_kinds_match_their_schemas(
    rendered: dict[str, Objects], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strict schemas of this Kubernetes take every object that was rendered for it or for an older one."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _schema_contents)
    distinct = {
        json.dumps(item, sort_keys=True)
        for name, objects in rendered.items()
        if _minor(all_cases()[name].get("kubeVersion", "1.35")) <= _minor(version)
        for item in [*filter(_is_built_in, objects), *_groups(objects)]
    }
    assert [error for text in distinct if (error := _validate(json.loads(text), version))] == []


_schema_contents = cache(kubernetes_validate.utils.schema_contents)


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _is_built_in(item: dict[str, Any]) -> bool:
    group = item["apiVersion"].rpartition("/")[0]
    return group != "gateway.networking.k8s.io" and ("." not in group or group.endswith(".k8s.io"))


def _groups(objects: Objects) -> Objects:
    """The pod templates of a LeaderWorkerSet as objects that have a schema."""
    return [
        {"apiVersion": "v1", "kind": "PodTemplate", "template": item["spec"]["leaderWorkerTemplate"][role]}
        for item in select(objects, "LeaderWorkerSet")
        for role in ("leaderTemplate", "workerTemplate")
    ]


def _validate(item: dict[str, Any], version: str) -> str | None:
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes {version} has no {item['apiVersion']} {item['kind']}"
    except kubernetes_validate.ValidationError as error:
        return f"{item['kind']} on {version}: {error.message[:300]}"
    return None


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The chart once for every case, with the case's values as its own: a helm process lints all of them."""
    folder = tmp_path_factory.mktemp("charts")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    found = []
    for name, values in all_cases().items():
        copy = folder / name.split(":")[0]
        shutil.copytree(CHART, copy)
        (copy / "values.yaml").write_text(json.dumps(merge(defaults, values)), encoding="utf-8")  # JSON is YAML
        found.append(copy)
    return found


def test_both_helms_lint_every_case(helm: Helm, charts: list[Path]) -> None:
    """Helm 4 and helm 3 find nothing in strict mode."""
    result = helm("lint", "--strict", "--kube-version", "1.35.0", *charts)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(charts)} chart(s) linted, 0 chart(s) failed" in result.stdout
    assert "[ERROR]" not in result.stdout
    assert "[WARNING]" not in result.stdout


def _differs(helm: Helm, name: str, objects: Objects) -> str | None:
    values = merge({"kubeVersion": "1.35"}, all_cases()[name])
    written = helm("template", "demo", CHART, "--namespace", "models", values=values)
    if written.returncode:
        return f"{name}: {written.stderr}"
    return None if _sorted(parse(written.stdout)) == _sorted(objects) else f"{name}: differs from the SDK"


def test_helm_3_renders_every_case_alike(rendered: dict[str, Objects]) -> None:
    """Helm 3, whose numbers and schemas are read by other libraries, writes what helm 4's engine does."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: _differs(partial(run_helm, "helm3"), name, rendered[name]), rendered)
        assert [problem for problem in found if problem] == []


def test_helm_4_renders_every_mode_alike(rendered: dict[str, Objects]) -> None:
    """The helm 4 program writes what its engine does in this process."""
    found = [_differs(partial(run_helm, "helm4"), name, rendered[name]) for name in modes()]
    assert [problem for problem in found if problem] == []


def _sorted(objects: Objects) -> Objects:
    return sorted(objects, key=lambda item: (item["kind"], item["metadata"]["name"]))


@settings(max_examples=40, deadline=None)
@given(row=st.fixed_dictionaries({toggle: st.sampled_from(list(names)) for toggle, names in TOGGLES.items()}))
def test_any_combination_fits_or_is_refused(render: Callable[..., Objects], row: dict[str, str]) -> None:
    """Any settings of all toggles together render soundly, or the chart says why they cannot work."""
    values = merge({"kubeVersion": "1.35"}, *(TOGGLES[toggle][name] for toggle, name in row.items()))
    try:
        problems = find_problems(render(values))
    except helm_python.HelmError as refusal:
        problems = [] if "these values cannot work" in str(refusal) else [str(refusal)]
    assert problems == []


def test_combinations_hold_every_pair() -> None:
    """The combinations contain every pair of settings that the chart takes together."""
    assert find_uncovered_pairs(rows()) == []
