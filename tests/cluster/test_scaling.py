"""Scaling in a real cluster on a served metric: the HPA by prometheus-adapter, and KEDA.

The load's series are served by the test (see conftest): so many requests in flight in all, spread over the pods that
there are. The target is 2 in flight a replica, between 2 and 8 replicas.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_stand_ins import ServedLoad, eventually, exporting

Json = Callable[..., Any]
Helm = Callable[..., str]

# Triton's counters, the metrics of its vLLM backend, and the gauges of vLLM's own server.
EXPORTERS = ["", "vllm-backend", "vllm"]
LABELS = "app.kubernetes.io/component=server"
SCALING = (
    "autoscaling.minReplicas=2", "autoscaling.maxReplicas=8", "autoscaling.metrics.concurrency.target=2",
    "autoscaling.metrics.pending.target=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def load(cluster: Any, namespace: str) -> Iterator[ServedLoad]:
    port = os.environ.get("SERVE_CLUSTER_EXPORTER_PORT")
    if not port:
        pytest.skip("no served metric: SERVE_CLUSTER_EXPORTER_PORT does not name the port that Prometheus scrapes")
    served = ServedLoad(cluster.core, namespace, LABELS)
    with exporting(served, int(port)):
        yield served


def follow(cluster: Any, namespace: str, load: ServedLoad, release: str) -> list[int]:
    """Replicas after the load was 2, then 10, then 1 in flight in all."""
    reached = []
    for in_flight, wanted in ((2.0, 2), (10.0, 5), (1.0, 2)):
        load.in_flight = in_flight
        reached.append(
            eventually(
                lambda: cluster.apps.read_namespaced_deployment(f"{release}-triton", namespace).spec.replicas,
                lambda replicas, wanted=wanted: replicas == wanted,
                seconds=300,
                what=f"{in_flight} requests in flight, {wanted} replicas wanted",
                explain=lambda: explain(cluster, namespace),
            )
        )
    return reached


def explain(cluster: Any, namespace: str) -> str:
    """What the autoscalers say, for a failure's message."""
    scalers = cluster.scaling.list_namespaced_horizontal_pod_autoscaler(namespace).items
    return "; ".join(f"{each.type}: {each.message}" for hpa in scalers for each in hpa.status.conditions or [])


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_hpa_follows_requests_in_flight(
    cluster: Any, namespace: str, chart: Path, load: ServedLoad, serve_json: Json, helm: Helm, exporter: str
) -> None:
    """2 in flight are 2 replicas (the minimum), 10 are 5, and 1 is 2 again; status shows the metric."""
    if "custom.metrics.k8s.io" not in cluster.kinds:
        pytest.skip("prometheus-adapter is not installed: no custom.metrics.k8s.io")
    scaling = ("autoscaling.mode=hpa", f"autoscaling.metrics.decoupled.exporter={exporter}", *SCALING)
    settings = [word for setting in scaling for word in ("--set", setting)]
    serve_json("deploy", chart, "--release", "hpa", "-n", namespace, *settings)
    try:
        assert follow(cluster, namespace, load, "hpa") == [2, 5, 2]
        scaler = serve_json("status", "hpa", "-n", namespace)["autoscaler"]
        suffix = f"_{exporter.replace('-', '_')}" if exporter else ""
        names = [metric["name"] for metric in scaler["metrics"]]
        assert names == [f"triton_concurrency{suffix}", f"triton_pending{suffix}"]
        assert scaler["metrics"][0]["target"] == 2
    finally:
        helm("uninstall", "hpa", "-n", namespace)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_keda_follows_requests_in_flight(
    cluster: Any, namespace: str, chart: Path, load: ServedLoad, serve_json: Json, helm: Helm, exporter: str
) -> None:
    """The same replicas by KEDA, which asks Prometheus for the total itself."""
    if "keda.sh" not in cluster.kinds:
        pytest.skip("KEDA is not installed: no keda.sh")
    address = os.environ.get("SERVE_CLUSTER_PROMETHEUS")
    if not address:
        pytest.skip("SERVE_CLUSTER_PROMETHEUS does not give the address at which KEDA reaches Prometheus")
    where = f"autoscaling.prometheus.serverAddress={address}"
    scaling = ("autoscaling.mode=keda", where, f"autoscaling.metrics.decoupled.exporter={exporter}", *SCALING)
    settings = [word for setting in scaling for word in ("--set", setting)]
    serve_json("deploy", chart, "--release", "keda", "-n", namespace, *settings)
    try:
        assert follow(cluster, namespace, load, "keda") == [2, 5, 2]
    finally:
        helm("uninstall", "keda", "-n", namespace)
