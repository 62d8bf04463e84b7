"""Compact strict schemas of the custom resources that the chart makes: the fields it may use, no others.

Written from the projects' own CRDs (KEDA, prometheus-operator, Gateway API's standard channel, LeaderWorkerSet,
external-secrets, Google's prometheus-engine, Envoy Gateway). Pod templates within them are checked as pod templates
elsewhere.
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]


def _map(required: str = "", /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(items: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": items, **limits}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


STRING: Schema = {"type": "string"}
TEXT: Schema = {"type": "string", "minLength": 1}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h|d|w|y))+$"}
SELECTOR = _map(matchLabels=STRINGS)
_REPLICAS: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}

_SCALING_RULES = _map(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy=_one_of("Max", "Min", "Disabled"),
    policies=_list(
        _map("type value periodSeconds", type=_one_of("Pods", "Percent"), value=_POSITIVE,
             periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800}),
        minItems=1,
    ),
)  # fmt: skip
_SCALED_OBJECT = _map(
    "scaleTargetRef triggers",
    scaleTargetRef=_map("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
    pollingInterval=_REPLICAS,
    cooldownPeriod=_REPLICAS,
    minReplicaCount=_REPLICAS,
    maxReplicaCount=_REPLICAS,
    fallback=_map(
        "failureThreshold replicas", failureThreshold=_REPLICAS, replicas=_REPLICAS,
        behavior=_one_of("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"),
    ),
    advanced=_map(
        horizontalPodAutoscalerConfig=_map(behavior=_map(scaleUp=_SCALING_RULES, scaleDown=_SCALING_RULES))
    ),
    triggers=_list(
        _map(
            "type metadata", type=TEXT, name=TEXT, metricType=_one_of("AverageValue", "Value", "Utilization"),
            metadata=STRINGS, authenticationRef=_map("name", name=TEXT, kind=TEXT),
        ),
        minItems=1,
    ),
)  # fmt: skip
_ENDPOINTS = _list(_map(port=TEXT, path=TEXT, interval=DURATION), minItems=1)
_PARENT = _map("name", group=STRING, kind=TEXT, namespace=TEXT, name=TEXT, sectionName=TEXT, port=_PORT)
_BACKENDS = _list(
    _map("name", name=TEXT, port=_PORT, weight={"type": "integer", "minimum": 0, "maximum": 1_000_000}), minItems=1
)


_FILTERS = _list(
    _map(
        "type", type=_one_of("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"),
        requestHeaderModifier=_map(set=_list(ANYTHING), add=_list(ANYTHING), remove=_list(TEXT)),
        extensionRef=_map("group kind name", group=STRING, kind=TEXT, name=TEXT),
    )
)  # fmt: skip
_TARGETS = _list(
    _map("group kind name", group=_one_of("gateway.networking.k8s.io"), kind=_one_of("HTTPRoute", "GRPCRoute"),
         name=TEXT),
    minItems=1,
)  # fmt: skip
_COUNT_OR_SHARE: Schema = {"anyOf": [_REPLICAS, {"type": "string", "pattern": "^([0-9]{1,2}|100)%$"}]}


def _route(match: Schema, **rule: Schema) -> Schema:
    return _map(
        parentRefs=_list(_PARENT, minItems=1),
        hostnames=_list({"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}),
        rules=_list(_map(matches=_list(match), filters=_FILTERS, backendRefs=_BACKENDS, **rule), minItems=1),
    )


SPECS: dict[tuple[str, str], Schema] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _SCALED_OBJECT,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _map(
        "selector endpoints", selector=SELECTOR, endpoints=_ENDPOINTS
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _map(
        "selector podMetricsEndpoints", selector=SELECTOR, podMetricsEndpoints=_ENDPOINTS
    ),
    ("monitoring.googleapis.com/v1", "PodMonitoring"): _map(
        "selector endpoints", selector=SELECTOR, endpoints=_ENDPOINTS
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _map(
        groups=_list(
            _map(
                "name rules", name=TEXT, interval=DURATION,
                rules=_list(_map("expr", record=TEXT, alert=TEXT, expr=TEXT, for_=DURATION, labels=STRINGS,
                                 annotations=STRINGS)),
            )
        )
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _route(
        _map(path=_map(type=_one_of("Exact", "PathPrefix", "RegularExpression"), value=TEXT)),
        timeouts=_map(request={"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}),
    ),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): _route(
        _map(method=_map(type=_one_of("Exact", "RegularExpression"), service=TEXT, method=TEXT))
    ),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"): _map(
        "leaderWorkerTemplate",
        replicas=_REPLICAS,
        startupPolicy=_one_of("LeaderCreated", "LeaderReady"),
        rolloutStrategy=_map(
            "type", type=_one_of("RollingUpdate"),
            rollingUpdateConfiguration=_map(
                maxSurge=_COUNT_OR_SHARE, maxUnavailable=_COUNT_OR_SHARE, partition=_REPLICAS
            ),
        ),
        leaderWorkerTemplate=_map(
            "workerTemplate", size=_POSITIVE, leaderTemplate=ANYTHING, workerTemplate=ANYTHING,
            restartPolicy=_one_of("None", "RecreateGroupOnPodRestart", "RecreateGroupAfterStart"),
        ),
    ),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"): _map(
        "targetRefs",
        targetRefs=_TARGETS,
        loadBalancer=_map("type", type=_one_of("ConsistentHash", "LeastRequest", "Random", "RoundRobin")),
        rateLimit=_map(
            type=_one_of("Global", "Local"),
            local=_map(
                rules=_list(
                    _map(
                        "limit",
                        limit=_map("requests unit", requests=_POSITIVE, unit=_one_of("Second", "Minute", "Hour")),
                    )
                )
            ),
        ),
    ),
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy"): _map(
        "targetRefs",
        targetRefs=_TARGETS,
        apiKeyAuth=_map(
            "credentialRefs extractFrom",
            credentialRefs=_list(_map("name", group=STRING, kind=TEXT, name=TEXT), minItems=1),
            extractFrom=_list(_map(headers=_list(TEXT, minItems=1)), minItems=1),
        ),
    ),
    ("external-secrets.io/v1", "ExternalSecret"): _map(
        refreshInterval=STRING,
        secretStoreRef=_map("name", name=TEXT, kind=_one_of("SecretStore", "ClusterSecretStore")),
        target=_map(name=TEXT, creationPolicy=_one_of("Owner", "Orphan", "Merge", "None")),
        data=_list(_map("secretKey remoteRef", secretKey=TEXT, remoteRef=_map("key", key=TEXT, property=TEXT))),
        dataFrom=_list(_map(extract=_map("key", key=TEXT))),
    ),
}  # fmt: skip


def find_schema_errors(item: dict[str, Any]) -> list[str]:
    """Errors of a custom resource against its schema; KeyError where this module has none."""
    spec = SPECS[item["apiVersion"], item["kind"]]
    whole = _map("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=ANYTHING, spec=spec)
    errors = jsonschema.Draft202012Validator(whole).iter_errors(item)
    return [f"{item['kind']} {'/'.join(map(str, error.path))}: {error.message}" for error in errors]
