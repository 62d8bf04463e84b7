"""Ways to render the chart: Helm's SDK in this process (milliseconds), and the real helm 3 and 4 programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import helm_python
import pytest
from chart_cases import CHART, all_cases
from chart_helm import HELMS, run_helm
from chart_objects import Objects, parse


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


@pytest.fixture(scope="session")
def rendered(render: Callable[..., Objects]) -> dict[str, Objects]:
    """Every mode and combination, rendered for Kubernetes 1.35 where it does not say otherwise."""
    return {name: render({"kubeVersion": "1.35", **values}) for name, values in all_cases().items()}


@pytest.fixture(scope="session", params=HELMS)
def helm(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a real helm, once with helm 4 and once with helm 3."""

    def run(*arguments: object, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        return run_helm(request.param, *arguments, values=values)

    return run
