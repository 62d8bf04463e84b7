"""`helm install demo charts/triton` with no values at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "triton"

Render = Callable[..., list[dict[str, Any]]]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def test_lints(helm: Helm) -> None:
    """Helm 4 and helm 3 find nothing to complain about in strict mode."""
    result = helm("lint", "--strict", CHART)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[ERROR]" not in result.stdout
    assert "[WARNING]" not in result.stdout


def test_needs_no_custom_resource(render: Render) -> None:
    """A bare cluster knows every kind that is made by default."""
    kinds = {(item["apiVersion"], item["kind"]) for item in render()}
    assert kinds <= {
        ("v1", "ConfigMap"), ("v1", "Pod"), ("v1", "Service"), ("v1", "ServiceAccount"), ("apps/v1", "Deployment"),
        ("networking.k8s.io/v1", "NetworkPolicy"), ("policy/v1", "PodDisruptionBudget"),
    }  # fmt: skip


def test_helm_and_sdk_render_alike(helm: Helm, render: Render) -> None:
    """What the other tests see through the SDK is what both helms write."""
    result = helm("template", "demo", CHART, "--namespace", "models", "--kube-version", "1.35.0")
    assert result.returncode == 0, result.stderr
    written = [item for item in yaml.safe_load_all(result.stdout) if item]
    key = lambda item: (item["kind"], item["metadata"]["name"])  # noqa: E731
    assert sorted(written, key=key) == sorted(render({"kubeVersion": "1.35.0"}), key=key)


def test_generated_files_are_current() -> None:
    """values.yaml, its schema, the README, the GPU profiles and the example are what their sources say."""
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_chart.py", "--check"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
