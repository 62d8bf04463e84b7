"""The types of ChartValues, the schema that helm checks and the documents agree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml
from chart_cases import CHART, all_cases, merge, modes
from chart_objects import Objects, select
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_deploy.chart.values import ChartValues
from serve_deploy.chart.values.documentation import USUAL_VALUES, document_values, render_values_yaml

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
LEAVES = [item.path for item in document_values() if not item.group]


def is_typed(values: dict[str, Any]) -> bool:
    try:
        ChartValues.model_validate(values, strict=True)
    except ValidationError:
        return False
    return True


def is_in_schema(values: dict[str, Any]) -> bool:
    return not list(jsonschema.Draft7Validator(SCHEMA).iter_errors(values))


def test_defaults_are_the_types_own() -> None:
    """values.yaml says what ChartValues does."""
    assert ChartValues.model_validate(DEFAULTS) == ChartValues()
    assert ChartValues().model_dump(mode="json", by_alias=True) == DEFAULTS


def test_usual_values_work(render: Callable[..., Objects]) -> None:
    """The ten lines at the top of values.yaml can be taken as they are."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8").partition("\n\n")[0]
    shown = "".join(line.removeprefix("#   ") + "\n" for line in text.splitlines() if line.startswith("#   "))
    assert shown == USUAL_VALUES
    assert len(shown.splitlines()) == 10
    assert "HTTPRoute" in {item["kind"] for item in render(yaml.safe_load(shown))}


@pytest.mark.parametrize("digest", ["123456789012e123", "1234567890123456"])
def test_a_digest_is_no_number_to_helm(helm: Callable[..., Any], tmp_path: Path, digest: str) -> None:
    """A revision that another YAML reads as a number stays the text that it is, in the values.yaml that is written."""
    values = ChartValues.model_validate({"modelRepository": {"revision": digest, "source": "s3", "uri": "s3://b"}})
    (tmp_path / "values.yaml").write_text(render_values_yaml(values), encoding="utf-8")
    done = helm("template", "demo", CHART, "-f", tmp_path / "values.yaml")
    assert f'serve/repository-revision: "{digest}"' in done.stdout, done.stderr


def test_every_value_is_documented() -> None:
    """Each value and each group has a sentence, which values.yaml and the README show."""
    assert [".".join(item.path) for item in document_values() if not item.description.endswith((".", "…"))] == []
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert [path for path in LEAVES if f"| `{'.'.join(path)}` |" not in readme] == []


def test_every_object_of_the_schema_is_closed() -> None:
    """A misspelt key is an error at every level."""

    def walk(node: dict[str, Any], path: str) -> list[str]:
        open_here = [] if node.get("additionalProperties") is False else [path]
        groups = {key: child for key, child in node["properties"].items() if "properties" in child}
        return open_here + [each for key, child in groups.items() for each in walk(child, f"{path}.{key}")]

    assert walk(SCHEMA, "") == []


@pytest.mark.parametrize("case", [pytest.param(name, id=name.split(":")[0]) for name in all_cases()])
def test_types_take_what_the_schema_takes(case: str) -> None:
    """Every case of the other tests is legal for both."""
    values = all_cases()[case]
    ChartValues.model_validate(values)
    assert is_in_schema(values)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10**6), st.sampled_from(["", "a", "off", "hpa", "1Gi", "15s", "500m"]),
    st.lists(st.sampled_from(["a", {"x": 1}]), max_size=2),
    st.dictionaries(st.sampled_from(["a", "type"]), st.just("b")),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(LEAVES), value=anything)
def test_types_and_schema_judge_alike(path: tuple[str, ...], value: Any) -> None:
    """Whatever stands at whatever value, helm refuses it exactly where `serve chart` does."""
    values: Any = value
    for key in reversed(path):
        values = {key: values}
    assert is_typed(values) == is_in_schema(values)


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(st.tuples(st.sampled_from(LEAVES), anything), max_size=4))
def test_legal_values_render_or_are_refused_with_reasons(
    chart: helm_python.Chart, chosen: list[tuple[tuple[str, ...], Any]]
) -> None:
    """No legal value breaks a template: it renders, or the chart says why it cannot work."""
    values: dict[str, Any] = {}
    for path, value in chosen:
        part: Any = value
        for key in reversed(path):
            part = {key: part}
        values = merge(values, part)
    if not is_in_schema(values) or values.get("extraObjects"):
        return
    try:
        outcome = "".join(chart.render(values, name="demo", namespace="models"))
    except helm_python.HelmRenderError as refusal:
        outcome = str(refusal)
    assert "triton/templates/service.yaml" in outcome, values
    assert "these values cannot work" in outcome or "NOTES.txt" in outcome, values


def test_readme_shows_the_adapter_rules(render: Callable[..., Objects]) -> None:
    """What the README gives to copy is what the ConfigMap holds."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    rules = next(m for m in select(render(modes()["hpa"]), "ConfigMap") if m["metadata"]["name"].endswith("-rules"))
    assert yaml.safe_load(block[1])["rules"]["custom"] == yaml.safe_load(rules["data"]["config.yaml"])["rules"]


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({}, ["serves digits", "helm test demo", "stays with one replica", "dns:///demo-triton-headless.models:8001",
              "example model", "each pod's UID"]),
        ({"autoscaling": {"mode": "hpa", "metrics": {"concurrency": {"target": 1.0}}}}, ["1 request in flight each"]),
        (modes()["hpa-cpu"], ["by CPU (60 %)", "CPU does not show a full GPU"]),
        (modes()["hpa"], ["2 to 8, 2.5 requests in flight each (hpa)", "ConfigMap demo-triton-adapter-rules"]),
        (modes()["onprem-l40"], ["https://models.example.com/"]),
        (modes()["multi-node-vllm"],
         ["kubectl wait --for=condition=Available --timeout=1h --namespace models leaderworkerset/demo-triton-group",
          'the parameter REPORT_CUSTOM_METRICS "true" in config.pbtxt', "pods/*/triton_concurrency_vllm_backend"]),
        (modes()["gke-l4"], ["10 % of what comes through the routes goes to next-triton"]),
        ({"security": {"adminApi": {"restricted": []}}, "networkPolicy": {"enabled": False}},
         ["any client may load, unload and trace", "every pod of the cluster may connect"]),
    ],
    ids=["default", "one", "cpu", "hpa", "ingress", "group", "canary", "open"],
)  # fmt: skip
def test_notes_say_what_matters(chart: helm_python.Chart, values: dict[str, Any], sentences: list[str]) -> None:
    """After an install one reads how to reach it, what comes next, and what the mode cannot do."""
    rendered = chart.render(values, name="demo", namespace="models")
    notes = " ".join(next(text for path, text in rendered.items() if path.endswith("NOTES.txt")).split())
    assert [sentence for sentence in sentences if sentence not in notes] == []


def test_notes_offer_only_tests_that_exist(chart: helm_python.Chart) -> None:
    """A release that may have no replica has no test, and its notes name none."""
    rendered = chart.render(modes()["scale-to-zero"], name="demo", namespace="models")
    notes = next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))
    assert "helm test" not in notes
    assert "Wait until it is ready:\n  kubectl rollout status --namespace models deployment/demo-triton\n" in notes
