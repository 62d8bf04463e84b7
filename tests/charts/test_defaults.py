"""`helm install demo charts/triton` with no values at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

Render = Callable[..., list[dict[str, Any]]]


def test_needs_no_custom_resource(render: Render) -> None:
    """A bare cluster knows every kind that is made by default."""
    kinds = {(item["apiVersion"], item["kind"]) for item in render()}
    assert kinds <= {
        ("v1", "ConfigMap"), ("batch/v1", "Job"), ("v1", "Service"), ("v1", "ServiceAccount"),
        ("apps/v1", "Deployment"), ("networking.k8s.io/v1", "NetworkPolicy"), ("policy/v1", "PodDisruptionBudget"),
    }  # fmt: skip


def test_every_policy_lets_names_resolve(render: Render) -> None:
    """Servers and helm test reach DNS where its pods listen: on 53, and on 5353 in OpenShift."""
    policies = [item for item in render() if item["kind"] == "NetworkPolicy"]
    asked = [{(port["port"], port["protocol"]) for port in item["spec"]["egress"][0]["ports"]} for item in policies]
    assert asked == [{(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")}] * 2


def test_generated_files_are_current() -> None:
    """values.yaml, its schema, the README, the GPU profiles and the example are what their sources say."""
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_chart.py", "--check"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
