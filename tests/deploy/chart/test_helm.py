"""What helm's output means, told without a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from serve_deploy.cluster.changes.helm import Helm
from serve_deploy.cluster.changes.helm_errors import NoSuchRelease, ReleaseLocked, explain_failure
from serve_deploy.errors import EndpointError, ServeError, UsageError

REFUSED = """Error: execution error at (triton/templates/service.yaml:1:11): these values cannot work:
- autoscaling.minReplicas 4 exceeds autoscaling.maxReplicas 2

Use --debug flag to render out invalid YAML
"""

# As helm 4.1.4 says it.
CONFLICT = """level=WARN msg="upgrade failed" name=a error="conflict occurred"
Error: UPGRADE FAILED: conflict occurred while applying object demo/a-triton apps/v1, Kind=Deployment: \
Apply failed with 2 conflicts: conflicts with "kubectl" with subresource "scale" using apps/v1:
- .spec.replicas
conflicts with "kubectl-set" using apps/v1:
- .spec.template.spec.containers[name="triton"].image"""
ONE_CONFLICT = """Error: UPGRADE FAILED: conflict occurred while applying object demo/a-triton apps/v1, \
Kind=Deployment: Apply failed with 1 conflict: conflict with "kube-controller-manager" with subresource "scale" using \
apps/v1: .spec.replicas"""


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("Error: Kubernetes cluster unreachable: Get \"http://127.0.0.1:1/version\": connection refused",
         EndpointError, "helm upgrade cannot reach a cluster: Kubernetes cluster unreachable"),
        ('Error: UPGRADE FAILED: secrets is forbidden: User "me" cannot list resource "secrets"',
         EndpointError, "helm upgrade is not permitted: UPGRADE FAILED: secrets is forbidden"),
        (REFUSED, UsageError,
         "the chart refuses its values: these values cannot work:\n- autoscaling.minReplicas 4 exceeds"),
        ("Error: values don't meet the specifications of the schema(s)\n- at '/replicas': got string, want integer",
         UsageError, "got string, want integer"),
        ("WARNING: insecure\nError: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
         ReleaseLocked, "another helm works on the release"),
        ("Error: release: not found", NoSuchRelease, "there is no such release"),
        ("Error: the sky fell", EndpointError, "helm upgrade failed: the sky fell"),
        (CONFLICT, EndpointError,
         "helm may not change what others have set in Deployment a-triton: .spec.replicas was set by kubectl scale;"
         ' .spec.template.spec.containers[name="triton"].image was set by kubectl set'),
        (ONE_CONFLICT, EndpointError, "Deployment a-triton: .spec.replicas was set by the autoscaler"),
    ],
)  # fmt: skip
def test_failures_in_our_words(text: str, kind: type[ServeError], words: str) -> None:
    """Unreachable, forbidden, refused values, anything else: each with its own kind of error."""
    error = explain_failure("upgrade", text)
    assert type(error) is kind
    assert error.message.startswith(words) or words in error.message
    assert "--debug" not in error.message


def test_registry_is_no_cluster() -> None:
    """A registry that refuses the connection is not mistaken for the cluster."""
    error = explain_failure("push", "Error: dial tcp 127.0.0.1:1: connect: connection refused")
    assert error.message.startswith("helm push failed: dial tcp")
    assert "registry" in str(error.hint)


def test_what_helm_is_asked() -> None:
    """Install or upgrade in one."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, '{"version": 3}', "")

    # Any program that exists will do: it is not run.
    done = Helm("sh", run).upgrade("chart", "demo", "models", ["--set", "replicas=2"])
    assert done == {"version": 3}
    assert list(asked[0]) == [
        "sh", "upgrade", "demo", "chart", "--install", "--namespace", "models",
        "--output", "json", "--set", "replicas=2",
    ]  # fmt: skip
