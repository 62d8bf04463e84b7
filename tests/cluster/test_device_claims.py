"""GPUs by Dynamic Resource Allocation: the real scheduler gives each replica what its claim asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from cluster_stand_ins import eventually

Run = Callable[..., "CompletedProcess[str]"]
Json = Callable[..., Any]
GROUP = "resource.k8s.io"


@pytest.fixture(scope="module")
def claims(cluster: Any) -> Any:
    """The API of claims, where the cluster has it."""
    from kubernetes import client

    api = client.CustomObjectsApi()
    if not cluster.has_nodes or GROUP not in cluster.kinds:
        pytest.skip("no scheduler, or no Dynamic Resource Allocation, in this cluster")
    versions = next(group for group in client.ApisApi().get_api_versions().groups if group.name == GROUP).versions
    if "v1" not in [each.version for each in versions]:
        pytest.skip("resource.k8s.io/v1 came with Kubernetes 1.34")
    return api


@pytest.fixture(scope="module")
def device_class(cluster: Any, claims: Any, namespace: str) -> Iterator[str]:
    """A device class, and a node that says it has two large slices and one small one of it."""
    name = f"{namespace}.example.com"
    node = next(
        each.metadata.name
        for each in cluster.core.list_node().items
        if not any(taint.effect != "PreferNoSchedule" for taint in each.spec.taints or [])
    )
    devices = [
        {"name": f"slice-{index}", "attributes": {"profile": {"string": size}}}
        for index, size in enumerate(("large", "large", "small"))
    ]
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": name, "nodeName": node, "pool": pool, "devices": devices}
    of_class = {"selectors": [{"cel": {"expression": f'device.driver == "{name}"'}}]}
    kinds = (("deviceclasses", "DeviceClass", of_class), ("resourceslices", "ResourceSlice", spec))
    for plural, kind, what in kinds:
        body = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": what}
        claims.create_cluster_custom_object(GROUP, "v1", plural, body)
    yield name
    for plural, _, _ in kinds:
        claims.delete_cluster_custom_object(GROUP, "v1", plural, name)


def write_values(folder: Path, device_class: str, profile: str, replicas: int) -> Path:
    gpu = {"count": 1, "deviceClass": device_class}
    values = {
        "replicas": replicas,
        "lifecycle": {"rollingUpdate": {"spareCapacity": False}},
        "gpu": {**gpu, "deviceSelectors": [f'device.attributes["{device_class}"].profile == "{profile}"']},
    }
    path = folder / "values.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("profile", ["large", "small"])
def test_each_replica_gets_what_it_claims(
    claims: Any, device_class: str, namespace: str, chart: Path, serve_json: Json, tmp_path: Path, profile: str
) -> None:
    """As many replicas as there are devices are scheduled; another claim is another template, and rolls them."""
    values = write_values(tmp_path, device_class, profile, 2 if profile == "large" else 1)
    serve_json("deploy", chart, "--release", "claims", "-n", namespace, "--values", values)

    def allocated() -> list[str]:
        items = claims.list_namespaced_custom_object(GROUP, "v1", namespace, "resourceclaims")["items"]
        results = [item.get("status", {}).get("allocation", {}).get("devices", {}).get("results", []) for item in items]
        return sorted(device["device"] for each in results for device in each)

    expected = {"large": ["slice-0", "slice-1"], "small": ["slice-2"]}[profile]
    assert eventually(allocated, lambda devices: devices == expected, seconds=180, what="the devices") == expected


def test_status_says_which_claim_finds_no_device(
    device_class: str, namespace: str, chart: Path, serve_run: Run, helm: Callable[..., str], tmp_path: Path
) -> None:
    """A device that no node has is a reason of its own, with the values to change."""
    values = write_values(tmp_path, device_class, "huge", 1)
    done = serve_run(
        "deploy", chart, "--release", "huge", "-n", namespace, "--values", values, "--wait", "--timeout", 20
    )
    for release in ("huge", "claims"):
        helm("uninstall", release, "-n", namespace)
    assert done.returncode == 5
    assert "no node has devices left that its claim fits (gpu.deviceClass, gpu.deviceSelectors)" in done.stderr
