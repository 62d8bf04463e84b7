"""What cannot work is refused before anything is made, with a sentence that names the value."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import helm_python
import pytest
from chart_cases import CHART

Render = Callable[..., list[dict[str, Any]]]
Helm = Callable[..., subprocess.CompletedProcess[str]]

UNKNOWN_OR_MISTYPED: list[tuple[dict[str, Any], str]] = [
    ({"replica": 2}, "replica"),
    ({"autoscaling": {"enabled": True}}, "enabled"),
    ({"image": {"tagg": "x"}}, "tagg"),
    ({"replicas": "two"}, "/replicas"),
    ({"commonLabels": {"team": "a b"}}, "/commonLabels/team"),
    ({"replicas": -1}, "/replicas"),
    ({"server": {"ports": {"http": 70000}}}, "/server/ports/http"),
    ({"gpu": {"profile": "h1000"}}, "/gpu/profile"),
    ({"lifecycle": {"rollingUpdate": {"atOnce": "0%"}}}, "/lifecycle/rollingUpdate/atOnce"),
    ({"lifecycle": {"rollingUpdate": {"atOnce": 0}}}, "/lifecycle/rollingUpdate/atOnce"),
    ({"autoscaling": {"mode": "both"}}, "/autoscaling/mode"),
    ({"autoscaling": {"mode": ["hpa", "keda"]}}, "/autoscaling/mode"),
    ({"autoscaling": {"mode": True}}, "/autoscaling/mode"),
    ({"resources": {"memory": "2 gigabytes"}}, "/resources/memory"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"lifecycle": {"marginSeconds": 0}}, "/lifecycle/marginSeconds"),
    ({"gateway": {"canary": {"weight": 101}}}, "/gateway/canary/weight"),
    ({"modelRepository": {"uri": "ftp://x"}}, "/modelRepository/uri"),
    ({"modelRepository": {"layout": "links"}}, "/modelRepository/layout"),
    ({"security": {"adminApi": {"restricted": ["inference"]}}}, "/security/adminApi/restricted"),
]
KEDA = {"mode": "keda", "prometheus": {"serverAddress": "http://p:9090"}}
GROUP = {"enabled": True, "tensorParallel": 8, "pipelineParallel": 2}
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"lifecycle": {"terminationGracePeriodSeconds": 30}},
        "lifecycle.terminationGracePeriodSeconds is 30, but preStopSeconds 10 + exitTimeoutSeconds 30 + marginSeconds "
        "10 need 50: requests in flight would be cut off",
    ),
    ({"autoscaling": {"mode": "hpa", "minReplicas": 0}}, "autoscaling.minReplicas is 0: replicas that do not run"),
    ({"autoscaling": {**KEDA, "minReplicas": 0}}, "autoscaling.scaleToZero.upstreamTrigger"),
    (
        {"autoscaling": {"mode": "hpa", "minReplicas": 11}},
        "autoscaling.minReplicas 11 exceeds autoscaling.maxReplicas 10",
    ),
    ({"autoscaling": {"mode": "keda"}}, "autoscaling.prometheus.serverAddress is empty"),
    (
        {"autoscaling": {**KEDA, "metrics": {"source": "cpu"}}},
        "autoscaling.metrics.source cpu needs autoscaling.mode hpa",
    ),
    (
        {"autoscaling": {"mode": "hpa", "metrics": {"source": "triggers"}}},
        "autoscaling.metrics.source triggers needs autoscaling.mode keda and autoscaling.keda.triggers",
    ),
    (
        {"autoscaling": {"mode": "hpa", "metrics": {"decoupled": {"exporter": "gauge"}}}},
        "autoscaling.metrics.decoupled.exporter gauge needs the name of your metric",
    ),
    (
        {"autoscaling": {"mode": "hpa", "metrics": {"decoupled": {"exporter": "vllm", "metric": "x"}}}},
        "autoscaling.metrics.decoupled.metric x has no effect",
    ),
    ({"replicas": 2, "podDisruptionBudget": {"maxUnavailable": 2}}, "podDisruptionBudget.maxUnavailable is 2 of 2"),
    ({"modelRepository": {"source": "s3"}}, 'modelRepository.uri is "", but modelRepository.source s3'),
    ({"modelRepository": {"source": "gcs", "uri": "s3://b"}}, 'modelRepository.uri is "s3://b"'),
    ({"modelRepository": {"uri": "s3://b"}}, "modelRepository.source is carried"),
    (
        {"modelRepository": {"source": "s3", "uri": "s3://b", "layout": "snapshots", "revision": "1"}},
        'modelRepository.revision is "1", but with modelRepository.layout snapshots it is a snapshot\'s ID',
    ),
    (
        {"modelRepository": {"layout": "snapshots", "revision": "0123456789abcdef"}},
        "modelRepository.layout is snapshots, but modelRepository.source is carried",
    ),
    ({"modelRepository": {"source": "oci"}}, "modelRepository.oci.reference is empty"),
    ({"modelRepository": {"source": "http"}}, "modelRepository.http.url is empty"),
    (
        {"modelRepository": {"carried": {"path": "files/none"}}},
        "modelRepository.carried.path files/none contains no file",
    ),
    (
        {
            "modelRepository": {"source": "oci", "oci": {"reference": "a/b:1", "method": "volume"}},
            "kubeVersion": "1.30",
        },
        "Kubernetes 1.30 has no image volumes",
    ),
    ({"models": {"load": ["resnet"]}}, "models.load names resnet, which the chart does not carry (it carries digits)"),
    ({"server": {"controlMode": "explicit"}}, "server.controlMode is explicit, but models.load names no model"),
    (
        {"server": {"controlMode": "none"}, "models": {"load": ["digits"]}},
        "server.controlMode is none, so models.load would have no effect",
    ),
    (
        {"server": {"modelConfigName": "l4"}, "image": {"tag": "24.01-py3"}},
        "Triton 24.01-py3 does not have --model-config-name",
    ),
    ({"externalSecret": {"enabled": True}}, "externalSecret.store and externalSecret.remoteKey"),
    ({"gpu": {"profile": "l40", "cloud": "gke"}}, "gpu.cloud gke does not offer gpu.profile l40"),
    ({"gpu": {"profile": "l4", "mig": "1g.5gb"}}, "gpu.mig 1g.5gb is not a slice of gpu.profile l4 (it has none)"),
    ({"gpu": {"profile": "h100", "mig": "1g.5gb"}}, "(1g.10gb, 1g.20gb, 2g.20gb, 3g.40gb, 7g.80gb)"),
    ({"gpu": {"cloud": "gke"}}, "need a gpu.profile"),
    (
        {"engineCache": {"existingClaim": "engines"}},
        "engineCache.existingClaim is engines, but",
    ),
    ({"engineCache": {"path": "/tmp"}}, "engineCache.path is /tmp, which is a volume already"),
    ({"multiNode": GROUP}, "multiNode.enabled needs GPUs"),
    ({"multiNode": GROUP, "gpu": {"count": 3}}, "= 16 GPUs, which gpu.count 3 a node does not divide"),
    ({"multiNode": GROUP, "gpu": {"count": 16}}, "fit on one node of gpu.count 16"),
    ({"multiNode": {**GROUP, "backend": "tensorrtllm"}, "gpu": {"count": 8}}, "multiNode.sshSecret is empty"),
    (
        {"multiNode": GROUP, "gpu": {"count": 8}, "autoscaling": {"mode": "hpa", "metrics": {"source": "cpu"}}},
        "autoscaling.metrics.source cpu does not show the load of a multi-node GPU model",
    ),
    ({"ingress": {"enabled": True}}, "ingress.hosts is empty"),
    ({"gateway": {"grpcRoute": {"enabled": True}}}, "gateway.parentRefs is empty"),
    ({"gateway": {"canary": {"weight": 5}}}, "gateway.canary.weight is 5, but gateway.canary.service names no Service"),
    (
        {"gateway": {"envoyGateway": {"enabled": True}}},
        "gateway.envoyGateway.enabled is true, but no route is enabled",
    ),
    ({"gateway": {"envoyGateway": {"apiKeySecret": "keys"}}}, "the routes would be open and without a limit"),
    (
        {"gateway": {"httpRoute": {"enabled": True}, "envoyGateway": {"enabled": True, "apiKeySecret": "keys"}}},
        "everyone could go around the Gateway without a key",
    ),
    ({"tracing": {"url": "http://collector:4317"}}, "is the port of OTLP over gRPC; Triton sends OTLP over HTTP"),
    (
        {"gpu": {"count": 1, "deviceClass": "gpu.nvidia.com"}, "kubeVersion": "1.33"},
        "Kubernetes 1.33 has no resource.k8s.io/v1",
    ),
    (
        {"gpu": {"deviceClass": "gpu.nvidia.com"}, "kubeVersion": "1.35"},
        "gpu.deviceClass is gpu.nvidia.com, but no GPU is asked for",
    ),
    (
        {"gpu": {"profile": "h100", "mig": "1g.10gb", "deviceClass": "mig.nvidia.com"}, "kubeVersion": "1.35"},
        "ask for a slice with deviceClass mig.nvidia.com and gpu.deviceSelectors",
    ),
    ({"gpu": {"count": 1, "deviceSelectors": ["true"]}}, "the device plugin knows no selectors"),
    ({"prePull": {"enabled": True}}, "prePull.enabled would put the image, over 10 GB, on every node"),
    ({"prePull": {"images": ["a:1"]}}, "prePull.images names images, but prePull.enabled is false"),
    (
        {
            "multiNode": GROUP,
            "gpu": {"count": 8},
            "lifecycle": {"rollingUpdate": {"spareCapacity": False, "atOnce": "25%"}},
        },
        "lifecycle.rollingUpdate.atOnce is 25%, but a LeaderWorkerSet without spareCapacity rounds a share down",
    ),
    ({"compatibility": {"vertexAi": True, "sageMaker": True}}, "exclude each other"),
    ({"server": {"ports": {"http": 8001}}}, "must differ: [8001 8001 8002]"),
    ({"service": {"httpPort": 8001}}, "service.httpPort and service.grpcPort are both 8001"),
    (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "each replica would be scraped twice",
    ),
]


@pytest.mark.parametrize(
    ("values", "sentence"), UNKNOWN_OR_MISTYPED, ids=lambda each: each if isinstance(each, str) else ""
)
def test_schema_refuses(chart: helm_python.Chart, values: dict[str, Any], sentence: str) -> None:
    """An unknown key or a wrong type or value is refused by name."""
    with pytest.raises(helm_python.HelmError) as refusal:
        chart.validate_schema(values)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "sentence"), CONTRADICTIONS, ids=lambda each: each[:50] if isinstance(each, str) else ""
)
def test_contradictions_are_refused(render: Render, values: dict[str, Any], sentence: str) -> None:
    """Values that are legal one by one but cannot work together are refused with the reason."""
    with pytest.raises(helm_python.HelmError) as refusal:
        render(values)
    assert sentence in str(refusal.value)


def test_all_contradictions_are_told_at_once(render: Render) -> None:
    """Nobody has to run helm once for each mistake."""
    with pytest.raises(helm_python.HelmError) as refusal:
        render({"ingress": {"enabled": True}, "modelRepository": {"source": "oci"}})
    assert "ingress.hosts" in str(refusal.value)
    assert "modelRepository.oci.reference" in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"autoscaling": {"mode": "both"}}, "autoscaling"),
        ({"replica": 1}, "replica"),
        CONTRADICTIONS[0],
        CONTRADICTIONS[1],
    ],
    ids=["mode", "unknown key", "grace", "zero"],
)
def test_both_helms_refuse(helm: Helm, values: dict[str, Any], sentence: str) -> None:
    """The programs end with an error that holds the same sentence."""
    result = helm("template", "demo", CHART, values=values)
    assert result.returncode != 0
    assert sentence in result.stderr
