"""Ways to render the chart: Helm's SDK in this process (milliseconds), and the real helm 3 and 4 programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "triton"
TOOLS = ROOT / ".tools"
HELMS = ("helm4", "helm3")

Objects = list[dict[str, Any]]


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


@pytest.fixture(scope="session")
def chart() -> Iterator[helm_python.Chart]:
    """The chart, loaded by Helm's SDK."""
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: helm_python.Chart) -> Callable[..., Objects]:
    """Render values into objects, hooks and tests included; helm_python.HelmError where the chart refuses them."""

    def run(values: dict[str, Any] | None = None, *, name: str = "demo", namespace: str = "models") -> Objects:
        manifests = chart.render(values or {}, name=name, namespace=namespace)
        texts = [text for path, text in sorted(manifests.items()) if not path.endswith(("NOTES.txt", ".tpl"))]
        return [document for text in texts for document in parse(text)]

    return run


@pytest.fixture(scope="session", params=HELMS)
def helm(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a real helm; `values` go in by a file on stdin."""
    program = TOOLS / request.param
    if not program.exists():
        pytest.skip(f"{program} is missing: make tools")

    def run(*arguments: object, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        if values is not None:
            command += ["--values", "-"]
        return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60)

    return run


def select(objects: Objects, kind: str) -> Objects:
    """The objects of one kind."""
    return [item for item in objects if item["kind"] == kind]
