"""What an autoscaler wants, and why, told from its HorizontalPodAutoscaler; KEDA makes one for each ScaledObject."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.cluster.api import Object
from serve_deploy.cluster.state.objects import condition

_FACTORS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30,
    "Ti": 2.0**40,
}  # fmt: skip
# What reading them takes, by the reason why it fails.
_NEEDS = {
    "FailedGetPodsMetric": "; it takes the rules of ConfigMap {name}-adapter-rules in prometheus-adapter, and the"
    " replicas' metrics in Prometheus, which are there a minute after their start",
    "FailedGetResourceMetric": "; it takes metrics-server in the cluster, and a minute after a replica's start",
}


@dataclass(frozen=True)
class MetricReading:
    """One metric: its value now (None: not read yet) and the target that it is held at."""

    name: str
    current: float | None
    target: float | None


@dataclass(frozen=True)
class AutoscalerState:
    """Replicas now and wanted, within which bounds, by which metrics, and what the controller says of it."""

    name: str
    min_replicas: int
    max_replicas: int
    current: int
    wanted: int
    metrics: tuple[MetricReading, ...]
    why: str
    # What has to happen before its number of replicas is one that it chose; None where it is.
    awaits: str | None = None


def describe_hpa(hpa: Object, scaled_object: Object | None = None) -> AutoscalerState:
    """The state of a HorizontalPodAutoscaler (autoscaling/v2), and of the ScaledObject that KEDA made it for."""
    spec, status = hpa["spec"], hpa.get("status", {})
    read = {name: value for name, value in map(_read_current, status.get("currentMetrics") or []) if name}
    names = _name_triggers(scaled_object) if scaled_object else {}
    lowest, current = spec.get("minReplicas", 1), status.get("currentReplicas", 0)
    idle = scaled_object is not None and current == 0 and not scaled_object["spec"].get("minReplicaCount", 0)
    return AutoscalerState(
        name=hpa["metadata"]["name"],
        min_replicas=0 if idle else lowest,
        max_replicas=spec["maxReplicas"],
        current=current,
        wanted=status.get("desiredReplicas", 0),
        metrics=tuple(
            MetricReading(names.get(name, name), read.get(name), target)
            for name, target in map(_read_target, spec.get("metrics", []))
        ),
        why=(scaled_object and _explain_keda(scaled_object, idle=idle)) or _explain(hpa),
        awaits=None if idle else _find_decision(status, lowest),
    )


def describe_scaled_object(scaled_object: Object) -> AutoscalerState:
    """The state of a ScaledObject that has no HorizontalPodAutoscaler: KEDA has not made it, or is paused."""
    spec = scaled_object["spec"]
    paused = condition(scaled_object, "Paused").get("status") == "True"
    awaits = None if paused else "KEDA has not made its autoscaler yet"
    why = _explain_keda(scaled_object, idle=False) or awaits or ""
    lowest, highest = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
    return AutoscalerState(scaled_object["metadata"]["name"], lowest, highest, 0, 0, (), why, awaits)


def _find_decision(status: Object, lowest: int) -> str | None:
    if not status.get("conditions"):
        return "the autoscaler has not decided yet"
    # What it wants stays 0 as long as it cannot read its metrics; its lowest number it keeps even then.
    if status.get("currentReplicas", 0) < lowest:
        return f"the autoscaler has not made its {lowest} replicas (minReplicas) yet"
    return None


def _name_triggers(scaled_object: Object) -> dict[str, str]:
    """The triggers' own names by those that KEDA gives their metrics: `s0-prometheus` is the first trigger's."""
    triggers = enumerate(scaled_object["spec"].get("triggers", []))
    return {f"s{index}-{each['type']}": each["name"] for index, each in triggers if each.get("name")}


def parse_quantity(text: str | float) -> float:
    """A Kubernetes quantity as a number: 250m is 0.25, 4Gi is 4294967296."""
    number = str(text).rstrip("".join(_FACTORS))
    return float(number) * _FACTORS[str(text).removeprefix(number)]


def _explain_keda(scaled_object: Object, *, idle: bool) -> str | None:
    """What KEDA has to say before its HPA: paused, falling back, blind, or idle; None where it works."""
    ready, fallback, paused = (condition(scaled_object, kind) for kind in ("Ready", "Fallback", "Paused"))
    if paused.get("status") == "True":
        return "KEDA is paused (annotation autoscaling.keda.sh/paused)"
    if fallback.get("status") == "True":
        return f"KEDA uses its fallback, since a trigger cannot be read: {fallback.get('message')}"
    if ready.get("status") == "False":
        return f"KEDA is not ready ({ready.get('reason')}): {ready.get('message')}"
    if idle:
        return "idle at zero replicas: KEDA starts one when a trigger becomes active"
    return None


def _explain(hpa: Object) -> str:
    """The condition that matters most: a metric that cannot be read, else a limit, else what it can do."""
    active, limited, able = (condition(hpa, kind) for kind in ("ScalingActive", "ScalingLimited", "AbleToScale"))
    if active.get("status") == "False":
        reason = str(active.get("reason"))
        needs = _NEEDS.get(reason, "").format(name=hpa["metadata"]["name"])
        return f"it cannot read its metrics ({reason}): {active.get('message')}{needs}"
    if limited.get("status") == "True":
        return f"limited ({limited.get('reason')}): {limited.get('message')}"
    message = able.get("message") or active.get("message") or "it has computed nothing yet"
    return str(message)


def _source(metric: Object) -> Object:
    kind = metric.get("type", "")
    source: Object = metric.get(kind[:1].lower() + kind[1:], {})
    return source


def _name(source: Object) -> str:
    return str(source.get("metric", {}).get("name") or source.get("name", ""))


def _read_target(metric: Object) -> tuple[str, float | None]:
    source = _source(metric)
    return _name(source), _number(source.get("target", {}))


def _read_current(metric: Object) -> tuple[str, float | None]:
    source = _source(metric)
    return _name(source), _number(source.get("current", {}))


def _number(values: Object) -> float | None:
    for key in ("averageValue", "averageUtilization", "value"):
        if values.get(key) not in (None, ""):
            return parse_quantity(values[key])
    return None
