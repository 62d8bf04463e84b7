"""Values to render the chart with: every file of ci/, and every pair of toggles in few combinations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from allpairspy import AllPairs

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "triton"
KUBERNETES = tuple(f"1.{minor}" for minor in range(27, 38))
OLDEST = {"device-claims": "1.34"}  # Kubernetes that a mode needs, where it is not the chart's own oldest

Values = dict[str, Any]
DIGEST = "sha256:" + 8 * "01234567"
_KEDA = {"mode": "keda", "prometheus": {"serverAddress": "http://prometheus:9090"}}
_UPSTREAM = {"type": "prometheus", "metadata": {"serverAddress": "http://p:9090", "query": "x", "threshold": "1"}}
_PARENT = [{"name": "gateway", "namespace": "gateways"}]
_SIDECAR = {
    "name": "proxy",
    "image": "example.com/proxy:1",
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def _source(source: str, **settings: Any) -> Values:
    return {"modelRepository": {"source": source, **settings}}


def _secret(kind: str) -> Values:
    return {"modelRepository": {"credentials": {"existingSecret": "store", "kind": kind}}}


def _decoupled(exporter: str, metric: str = "") -> Values:
    return {"autoscaling": {"metrics": {"decoupled": {"exporter": exporter, "metric": metric}}}}


# Each toggle has named settings; the first one is the default.
TOGGLES: dict[str, dict[str, Values]] = {
    "kubernetes": {version: {"kubeVersion": version} for version in ("1.35", "1.27", "1.30", "1.33", "1.37")},
    "source": {
        "carried": {},
        "s3": _source(
            "s3", uri="s3://bucket/models/", region="eu-west-1", layout="snapshots", revision="0123456789abcdef"
        ),
        "gcs": _source("gcs", uri="gs://bucket/models"),
        "azure": _source("azure", uri="as://account/container/models"),
        "claim": _source(
            "pvc", pvc={"existingClaim": "models", "path": "a/b/"}, layout="snapshots", revision="0123456789abcdef"
        ),
        "new-claim": _source("pvc", pvc={"storageClass": "fast", "size": "5Gi", "keep": False}),
        "oci": _source("oci", oci={"reference": "example.com/models:1"}),
        "oci-copy": _source("oci", oci={"reference": "example.com/models:1", "method": "copy", "path": "/m/"}),
        "http": _source("http", http={"url": "https://example.com/models.tar.gz"}),
        "http-private": _source(
            "http", http={"url": "https://example.com/m.tar", "sha256": 64 * "a", "headerSecret": "download"}
        ),
    },
    "credentials": {
        "identity": {},
        "triton": _secret("triton"),
        "google": _secret("google"),
        "environment": _secret("environment"),
        "external": {"externalSecret": {"enabled": True, "store": "vault", "remoteKey": "models"}},
    },
    "autoscaling": {
        "off": {},
        "off-three": {"replicas": 3, "autoscaling": {"mode": False}},
        "none": {"replicas": 0},
        "hpa": {"autoscaling": {"mode": "hpa", "metrics": {"concurrency": {"target": 0.75}}}},
        "hpa-bare": {"autoscaling": {"mode": "hpa", "prometheus": {"adapterRules": {"enabled": False}}}},
        "cpu": {"autoscaling": {"mode": "hpa", "minReplicas": 1, "metrics": {"source": "cpu"}}},
        "keda": {"autoscaling": {**_KEDA, "keda": {"authenticationRef": "prometheus", "fallback": {"replicas": 5}}}},
        "triggers": {
            "autoscaling": {"mode": "keda", "metrics": {"source": "triggers"}, "keda": {"triggers": [_UPSTREAM]}}
        },
        "zero": {"autoscaling": {**_KEDA, "minReplicas": 0, "scaleToZero": {"upstreamTrigger": _UPSTREAM}}},
    },
    "decoupled": {
        "none": {},
        "vllm-backend": _decoupled("vllm-backend"),
        "vllm": _decoupled("vllm"),
        "tensorrtllm": _decoupled("tensorrtllm"),
        "gauge": _decoupled("gauge", "app:streams"),
        "seconds": _decoupled("seconds", "chat_seconds_sum"),
    },
    "gpu": {
        "cpu": {},
        "l4-gke": {"gpu": {"profile": "l4", "cloud": "gke"}},
        "mig-gke": {"gpu": {"profile": "a100-40", "cloud": "gke", "mig": "1g.5gb"}},
        "h100-nvl-aks": {"gpu": {"profile": "h100-nvl", "cloud": "aks", "count": 2}},
        "a10g-eks": {"gpu": {"profile": "a10g", "cloud": "eks"}},
        "mig-oke": {"gpu": {"profile": "h100", "cloud": "oke", "mig": "3g.40gb"}},
        "l40-onprem": {"gpu": {"profile": "l40", "cloud": "onprem"}},
        "mig-single": {"gpu": {"profile": "h200", "mig": "1g.18gb", "migStrategy": "single"}},
        "gh200": {"gpu": {"profile": "gh200", "runtimeClassName": "nvidia"}},
        "any": {"gpu": {"count": 1, "resourceName": "nvidia.com/gpu.shared"}},
        "h100-eks-8": {"gpu": {"profile": "h100", "cloud": "eks", "count": 8}},
        "claim": {"gpu": {"profile": "h200", "count": 8, "deviceClass": "gpu.nvidia.com", "deviceSelectors": ["true"]}},
    },
    "nodes": {
        "one": {},
        "vllm": {"multiNode": {"enabled": True, "exclusiveTopology": "rack"}},
        "tensorrtllm": {"multiNode": {"enabled": True, "backend": "tensorrtllm", "sshSecret": "mpi"}},
    },
    "monitor": {
        "none": {},
        "service": {"monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
        "pod": {"monitoring": {"podMonitor": {"enabled": True}}},
        "google": {"monitoring": {"gmpPodMonitoring": {"enabled": True}, "scrapeAnnotations": False}},
    },
    "rules": {
        "none": {},
        "all": {"monitoring": {"prometheusRule": {"enabled": True}}},
        "records": {"monitoring": {"prometheusRule": {"enabled": True, "alerts": {"enabled": False}}}},
        "bare": {"monitoring": {"prometheusRule": {"enabled": True, "alerts": {"kubeStateMetrics": False}}}},
    },
    "dashboard": {"off": {}, "on": {"monitoring": {"dashboard": {"enabled": True, "folder": "Models"}}}},
    "traffic": {
        "cluster": {},
        "balancer": {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"], "httpPort": 80}},
        "node-port": {"service": {"type": "NodePort", "sessionAffinity": "ClientIP"}},
        "ingress": {"ingress": {"enabled": True, "className": "nginx", "hosts": [{"host": "a.example.com"}]}},
        "ingress-grpc": {"ingress": {"enabled": True, "backend": "grpc", "hosts": [{"host": "a.example.com"}]}},
        "routes": {
            "gateway": {
                "parentRefs": _PARENT,
                "httpRoute": {"enabled": True, "timeoutSeconds": 30},
                "grpcRoute": {"enabled": True, "hostnames": ["g.example.com"]},
            }
        },
        "envoy": {
            "gateway": {
                "parentRefs": _PARENT,
                "grpcRoute": {
                    "enabled": True,
                    "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "a", "kind": "B", "name": "c"}}],
                },
                "envoyGateway": {"enabled": True},
            }
        },
        "envoy-keys": {
            "gateway": {
                "parentRefs": _PARENT,
                "httpRoute": {"enabled": True},
                "grpcRoute": {"enabled": True},
                "envoyGateway": {"enabled": True, "requestsPerSecond": 50, "apiKeySecret": "clients"},
            },
            "networkPolicy": {"clients": [{"namespaceSelector": {"matchLabels": {"name": "gateways"}}}]},
        },
        "canary": {
            "gateway": {
                "parentRefs": _PARENT,
                "httpRoute": {"enabled": True, "hostnames": ["a.example.com"]},
                "canary": {"service": "next-triton", "weight": 5},
            }
        },
    },
    "headless": {"on": {}, "off": {"headlessService": {"enabled": False}}},
    "network": {
        "on": {},
        "off": {"networkPolicy": {"enabled": False}},
        "own": {
            "networkPolicy": {
                "clients": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}],
                "metrics": [{"podSelector": {}}],
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
                "sourcePorts": [443, 9000],
            }
        },
    },
    "account": {
        "made": {},
        "none": {"serviceAccount": {"create": False}},
        "existing": {"serviceAccount": {"create": False, "name": "models", "automountToken": True}},
        "annotated": {"serviceAccount": {"name": "own", "annotations": {"eks.amazonaws.com/role-arn": "arn"}}},
    },
    "budget": {"on": {}, "off": {"podDisruptionBudget": {"enabled": False}}},
    "surge": {
        "on": {},
        "off": {"lifecycle": {"rollingUpdate": {"spareCapacity": False}, "preStopSeconds": 5}},
        "most": {"lifecycle": {"rollingUpdate": {"atOnce": "60%"}}},
    },
    "tracing": {
        "off": {},
        "on": {"tracing": {"url": "http://collector:4318/v1/traces"}},
        "tls": {"tracing": {"url": "https://collector.example.com/v1/traces", "oneIn": 1}},
    },
    "pre-pull": {
        "off": {},
        "on": {"prePull": {"enabled": True}, "pod": {"nodeSelector": {"pool": "models"}}},
        "next": {
            "prePull": {"enabled": True, "images": ["example.com/triton:next"]},
            "pod": {"nodeSelector": {"pool": "models"}},
        },
    },
    "grace": {
        "computed": {},
        "longer": {"lifecycle": {"terminationGracePeriodSeconds": 300, "exitTimeoutSeconds": 120}},
    },
    "admin": {
        "closed": {},
        "open": {"security": {"adminApi": {"restricted": []}}},
        "secret": {"security": {"adminApi": {"existingSecret": "admin"}}},
    },
    "models": {
        "all": {},
        "one": {"models": {"load": ["digits"]}},
        "top": {"models": {"load": ["digits"], "topLevel": ["digits"]}},
        "two": {"models": {"topLevel": ["digits", "a.b"]}},
    },
    "user": {"triton": {}, "cluster": {"security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}},
    "platform": {
        "none": {},
        "vertex": {"compatibility": {"vertexAi": True, "vertexAiDefaultModel": "digits"}},
        "sagemaker": {"compatibility": {"sageMaker": True, "sageMakerDefaultModel": "digits"}},
    },
    "names": {
        "default": {},
        "name": {"nameOverride": "inference"},
        "full": {"fullnameOverride": "models"},
        "labels": {"commonLabels": {"team": "a"}, "commonAnnotations": {"owner": "b"}},
    },
    "rbac": {
        "none": {},
        "viewer": {"rbac": {"viewer": {"create": True}}},
        "bound": {
            "rbac": {
                "viewer": {
                    "create": True,
                    "subjects": [{"kind": "Group", "name": "ml"}, {"kind": "ServiceAccount", "name": "ci"}],
                }
            }
        },
    },
    "image": {
        "tag": {},
        "old": {"image": {"tag": "24.01-py3"}},
        "digest": {"image": {"digest": DIGEST, "pullSecrets": ["registry"], "pullPolicy": "Always"}},
    },
    "server": {
        "plain": {},
        "tuned": {
            "server": {
                "summaryLatencies": True,
                "responseCache": {"sizeBytes": 1048576},
                "grpcMaxConnectionAgeSeconds": 300,
                "autoComplete": False,
                "exitOnError": False,
                "backendConfig": ["onnxruntime,default-max-batch-size=8"],
                "extraArgs": ["--log-warning=false"],
                "env": [{"name": "A", "value": "b"}],
                "envFrom": [{"configMapRef": {"name": "more"}}],
                "logVerbose": 1,
                "ports": {"http": 9000, "grpc": 9001, "metrics": 9002},
            },
            "resources": {"cpuLimit": "4", "cpu": "2", "memory": "4Gi"},
        },
    },
    "pod": {
        "plain": {},
        "rich": {
            "pod": {
                "labels": {"tier": "gold"},
                "annotations": {"a": "b"},
                "nodeSelector": {"pool": "models"},
                "tolerations": [{"key": "models", "operator": "Exists"}],
                "affinity": {"podAntiAffinity": {}},
                "topologySpread": "required",
                "priorityClassName": "high",
                "schedulerName": "own",
                "sidecars": [_SIDECAR],
                "initContainers": [{**_SIDECAR, "name": "before"}],
                "volumes": [{"name": "more", "emptyDir": {}}],
                "volumeMounts": [{"name": "more", "mountPath": "/more"}],
            }
        },
        "unspread": {"pod": {"topologySpread": "off"}},
        "own-affinity": {
            "pod": {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}]
                        }
                    }
                },
                "topologySpreadConstraints": [
                    {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
                ],
            }
        },
    },
    "test": {
        "default": {},
        "off": {"test": {"enabled": False}},
        "own": {"test": {"requests": [{"model": "digits", "body": '{"inputs":[]}', "expect": '"x\'y"'}]}},
    },
    "extra": {
        "none": {},
        "one": {
            "extraObjects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}
            ]
        },
    },
}
_GROUP_GPUS = {"h100-eks-8", "h100-nvl-aks", "claim"}
_NO_CLAIMS = {"1.27", "1.30", "1.33"}
_DEFAULTS = {toggle: next(iter(settings)) for toggle, settings in TOGGLES.items()}
Row = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]


def _is_possible(chosen: Row) -> bool:
    """Leave out what the chart refuses by itself; the refusals have tests of their own."""
    if chosen.get("gpu") == "claim" and chosen.get("kubernetes") in _NO_CLAIMS:
        return False
    if chosen.get("nodes", "one") == "one":
        return True
    return chosen.get("gpu", "h100-eks-8") in _GROUP_GPUS and chosen.get("autoscaling") != "cpu"


def find_uncovered_pairs(rows: Sequence[Row]) -> list[Pair]:
    """Pairs of settings that the chart takes together and that no row holds."""
    held = {pair for row in rows for pair in itertools.combinations(row.items(), 2)}
    return [
        pair
        for one, two in itertools.combinations(TOGGLES, 2)
        for pair in itertools.product([(one, name) for name in TOGGLES[one]], [(two, name) for name in TOGGLES[two]])
        if pair not in held and _is_possible(dict(pair))
    ]


def _complete(rows: list[Row]) -> None:
    # allpairspy gives a pair up where its greedy choice has left no row for it.
    while missing := find_uncovered_pairs(rows):
        row: Row = {}
        for pair in missing:
            larger = {**row, **dict(pair)}
            if all(row.get(toggle, name) == name for toggle, name in pair) and _is_possible(_fill(larger)):
                row = larger
        rows.append(_fill(row))


def _fill(row: Row) -> Row:
    gpu = {"gpu": "h100-eks-8"} if row.get("nodes", "one") != "one" else {}
    return {**_DEFAULTS, **gpu, **row}


def merge(*parts: Mapping[str, Any]) -> Values:
    """Merge values as helm does: maps deeply, everything else by the last."""
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merge(result[key], value) if both else value
    return result


@cache
def rows() -> tuple[Row, ...]:
    """Few rows of settings that hold every possible pair of two toggles' settings."""
    options = [list(settings) for settings in TOGGLES.values()]
    found = AllPairs(options, filter_func=lambda names: _is_possible(dict(zip(TOGGLES, names, strict=False))))
    result = [dict(zip(TOGGLES, names, strict=True)) for names in found]
    _complete(result)
    return tuple(result)


@cache
def combinations() -> dict[str, Values]:
    """The rows as values, by a name that says what is not the default."""
    cases = {}
    for index, row in enumerate(rows()):
        unusual = [f"{toggle}={name}" for toggle, name in row.items() if name != _DEFAULTS[toggle]]
        cases[f"{index}: {' '.join(unusual)}"] = merge(*(TOGGLES[toggle][name] for toggle, name in row.items()))
    return cases


@cache
def modes() -> dict[str, Values]:
    """The values files of charts/triton/ci, by name."""
    return {
        path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in sorted((CHART / "ci").glob("*-values.yaml"))
    }


def all_cases() -> dict[str, Values]:
    """Modes and combinations."""
    return {**modes(), **combinations()}
