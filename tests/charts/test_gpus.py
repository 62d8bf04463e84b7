"""A GPU profile in a cloud becomes what that cloud's nodes and autoscaler understand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chart_objects import Objects, select

from serve_deploy.gpu_profiles import PROFILES

Render = Callable[..., Objects]
OFFERS = [(name, cloud) for name, profile in PROFILES.items() for cloud in ("", *profile.clouds())]


def pod_spec(render: Render, **gpu: Any) -> dict[str, Any]:
    (deployment,) = select(render({"gpu": gpu}), "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def node_match(spec: dict[str, Any]) -> dict[str, list[str]]:
    node = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = node["nodeSelectorTerms"]
    return {each["key"]: each["values"] for each in term["matchExpressions"]}


@pytest.mark.parametrize(("name", "cloud"), OFFERS)
def test_node_is_matched_by_the_label_of_its_cloud(render: Render, name: str, cloud: str) -> None:
    """GKE's accelerator, in other clouds the instance type, else NVIDIA's product; and the right architecture."""
    profile, spec = PROFILES[name], pod_spec(render, profile=name, cloud=cloud)
    key, values = {
        "gke": ("cloud.google.com/gke-accelerator", profile.gke),
        "eks": ("node.kubernetes.io/instance-type", profile.eks),
        "aks": ("node.kubernetes.io/instance-type", profile.aks),
        "oke": ("node.kubernetes.io/instance-type", profile.oke),
    }.get(cloud, ("nvidia.com/gpu.product", profile.products))
    assert node_match(spec) == {key: list(values)}
    assert spec["nodeSelector"] == {"kubernetes.io/arch": profile.architecture}
    assert spec.get("runtimeClassName") == ("nvidia" if cloud == "onprem" else None)
    tolerated = {each["key"] for each in spec["tolerations"]}
    assert tolerated == {"nvidia.com/gpu"} | ({"sku"} if cloud == "aks" else set()) | (
        {"kubernetes.io/arch"} if profile.architecture == "arm64" else set()
    )
    resources = spec["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == 1
    assert f"--model-config-name={name}" in spec["containers"][0]["args"]
    assert "NVIDIA_VISIBLE_DEVICES" not in {each["name"] for each in spec["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("gpu", "resource", "match"),
    [
        ({"cloud": "oke"}, "nvidia.com/mig-3g.40gb", {"node.kubernetes.io/instance-type": ["BM.GPU.H100.8"]}),
        (
            {"migStrategy": "single"},
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": ["NVIDIA-H100-80GB-HBM3-MIG-3g.40gb"]},
        ),
        (
            {"cloud": "gke"},
            "nvidia.com/gpu",
            {
                "cloud.google.com/gke-accelerator": ["nvidia-h100-80gb", "nvidia-h100-mega-80gb"],
                "cloud.google.com/gke-gpu-partition-size": ["3g.40gb"],
            },
        ),
    ],
    ids=["mixed", "single", "gke"],
)
def test_slices_are_asked_for_as_the_cluster_names_them(
    render: Render, gpu: dict[str, str], resource: str, match: dict[str, list[str]]
) -> None:
    """A resource for each size, the plain resource with the product's suffix, or GKE's partition label."""
    spec = pod_spec(render, profile="h100", mig="3g.40gb", **gpu)
    assert spec["containers"][0]["resources"]["limits"][resource] == 1
    assert node_match(spec) == match


def test_a_cpu_replica_takes_no_gpu(render: Render) -> None:
    """On a node with GPUs, a replica that asked for none sees none of them."""
    spec = pod_spec(render)
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in spec["containers"][0]["env"]
    assert "affinity" not in spec
    assert "tolerations" not in spec


@pytest.mark.parametrize(
    ("claim", "volume"),
    [
        ("", {"emptyDir": {"sizeLimit": "3Gi"}}),
        ("engines", {"persistentVolumeClaim": {"claimName": "engines"}}),
    ],
)
def test_engines_are_kept_on_a_volume(render: Render, claim: str, volume: dict[str, Any]) -> None:
    """The replica's own, or one that all share, in the folder that the models' configurations name."""
    cache = {"path": "/engines", "existingClaim": claim, "size": "3Gi"}
    (deployment,) = select(render({"gpu": {"profile": "l4"}, "engineCache": cache}), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert {"name": "engines", **volume} in spec["volumes"]
    assert {"name": "engines", "mountPath": "/engines"} in spec["containers"][0]["volumeMounts"]
