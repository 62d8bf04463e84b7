"""A real Kubernetes cluster, named by KUBECONFIG, and a namespace of its own for each module.

| variable | what it is for |
|---|---|
| KUBECONFIG | the cluster; without it these tests are skipped |
| SERVE_CLUSTER_EXPORTER_PORT | port of 127.0.0.1 that the cluster's Prometheus scrapes, with honor_labels: the tests serve the load's metrics there. Without it, scaling on a served metric is skipped |
| SERVE_CLUSTER_PROMETHEUS | that Prometheus' address as KEDA reaches it; without it, KEDA is skipped |
| SERVE_CLUSTER_IMAGE | another image than NVIDIA's of the chart's release, as repository:tag |

prometheus-adapter must have the chart's rules (helm template … -s templates/adapter-rules.yaml), also those for
autoscaling.metrics.decoupled.exporter vllm-backend and vllm, and Prometheus should scrape every few seconds. Where the cluster has no ready node, the tests stand in for the kubelet: pods are marked as
running, and what only a real container can show (helm test, logs) is skipped.
"""  # noqa: E501

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster_stand_ins import standing_in_for_kubelet
from repositories import add_model

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(900))
            # A test cluster may have a certificate that nobody has signed.
            item.add_marker(pytest.mark.filterwarnings("ignore:Unverified HTTPS request"))


@dataclass(frozen=True)
class TestCluster:
    """The clients of a cluster, and whether it has nodes that run pods."""

    __test__ = False
    core: Any
    apps: Any
    scaling: Any
    access: Any
    has_nodes: bool
    kinds: frozenset[str]


@pytest.fixture(scope="session")
def cluster() -> TestCluster:
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: KUBECONFIG is not set")
    from kubernetes import client, config

    config.load_kube_config()
    core = client.CoreV1Api()
    nodes = core.list_node().items
    # KWOK's nodes are ready, and run nothing.
    real = [node for node in nodes if "kwok.x-k8s.io/node" not in (node.metadata.annotations or {})]
    conditions = [each for node in real for each in node.status.conditions or []]
    has_nodes = any(each.type == "Ready" and each.status == "True" for each in conditions)
    groups = client.ApisApi().get_api_versions().groups
    return TestCluster(
        core,
        client.AppsV1Api(),
        client.AutoscalingV2Api(),
        client.AuthorizationV1Api(),
        has_nodes,
        frozenset(group.name for group in groups),
    )


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """Run helm; its output."""
    if shutil.which("helm") is None:
        pytest.skip("helm is missing: make tools")

    def run(*arguments: object) -> str:
        done = subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(params=["helm3", "helm4"])
def each_helm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both helms, one after the other, as `helm` on PATH; its name."""
    program = ROOT / ".tools" / request.param
    if not program.exists():
        pytest.skip(f"{request.param} is missing: make tools")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return str(request.param)


@pytest.fixture(scope="module")
def namespace(cluster: TestCluster) -> Iterator[str]:
    """A namespace that is gone afterwards; its pods run, or are said to."""
    name = f"serve-test-{uuid.uuid4().hex[:8]}"
    cluster.core.create_namespace({"metadata": {"name": name}})
    try:
        if cluster.has_nodes:
            yield name
        else:
            with standing_in_for_kubelet(cluster.core, name):
                yield name
    finally:
        cluster.core.delete_namespace(name)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that `serve chart` wrote for the digits model; quick to scale, so that no test waits for minutes."""
    folder = tmp_path_factory.mktemp("chart")
    add_model(folder / "models")
    image = os.environ.get("SERVE_CLUSTER_IMAGE", "")
    settings = [
        "autoscaling.behavior.scaleUp.periodSeconds=5",
        "autoscaling.behavior.scaleDown.periodSeconds=5",
        "autoscaling.behavior.scaleDown.stabilizationWindowSeconds=0",
        "autoscaling.behavior.scaleDown.pods=10",
        "autoscaling.metrics.window=30s",
        "lifecycle.minReadySeconds=0",
        'resources.cpu="100m"',
    ]
    if image:
        repository, _, tag = image.rpartition(":")
        settings += [f"image.repository={repository}", f'image.tag="{tag}"']
    options = [word for setting in settings for word in ("--set", setting)]
    done = run_serve("chart", folder / "models", "-o", folder / "demo", "--autoscaling", "off", *options)
    assert done.returncode == 0, done.stderr
    return folder / "demo"


def run_serve(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real command, with the helm that is first on PATH: the project's own."""
    import sys

    return subprocess.run(
        [sys.executable, "-m", "serve_cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=800, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="session")
def serve_json() -> Callable[..., Any]:
    """Run a command that must succeed, with --json; its result."""

    def run(*arguments: object) -> Any:
        done = run_serve(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def serve_run() -> Run:
    """Run a command, however it ends."""
    return run_serve
