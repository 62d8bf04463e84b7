"""The checks themselves: each finds the error that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from api_rules import find_rejections
from chart_cases import modes
from chart_objects import Objects, parse, pod_templates, select
from chart_semantics import find_problems
from crd_schemas import find_schema_errors
from pod_security import find_violations

Object = dict[str, Any]


def _pod(objects: Objects) -> Object:
    return select(objects, "Deployment")[0]["spec"]["template"]["spec"]


def _container(objects: Objects) -> Object:
    return _pod(objects)["containers"][0]


def _first(objects: Objects, kind: str) -> Object:
    return select(objects, kind)[0]["spec"]


PLANTED: dict[str, tuple[Callable[[Objects], Any], str]] = {
    "object twice": (lambda o: o.append(deepcopy(o[0])), "made twice"),
    "long name": (lambda o: o[0]["metadata"].update(name=70 * "a"), "has the name"),
    "label too long": (lambda o: o[0]["metadata"]["labels"].update(x=64 * "a"), "label x"),
    "service port": (lambda o: _first(o, "Service")["ports"][0].update(targetPort="web"), "leads to port web"),
    "service selector": (lambda o: _first(o, "Service")["selector"].update(x="y"), "selects []"),
    "mount": (lambda o: _pod(o)["volumes"].pop(), "which is no volume"),
    "config map": (lambda o: o.remove(select(o, "ConfigMap")[-1]), "which nobody makes"),
    "probe port": (
        lambda o: _container(o)["livenessProbe"]["httpGet"].update(port="web"), "livenessProbe asks port web"
    ),
    "variable": (lambda o: _container(o)["env"].pop(0), "$(SERVE_ADMIN_KEY), which is not set"),
    "memory limit": (lambda o: _container(o)["resources"]["limits"].update(memory="9Gi"), "requests 1536Mi of memory"),
    "scale target": (
        lambda o: _first(o, "HorizontalPodAutoscaler")["scaleTargetRef"].update(name="x"), "does not exist"
    ),
    "own replicas": (lambda o: _first(o, "Deployment").update(replicas=2), "replicas of its own"),
    "grace": (lambda o: _pod(o).update(terminationGracePeriodSeconds=49), "grace period 49 < 10 + 30 + 10"),
    "budget": (lambda o: _first(o, "PodDisruptionBudget").update(maxUnavailable=2), "may take all 2 replicas"),
    "policy port": (
        lambda o: select(o, "NetworkPolicy")[-1]["spec"]["ingress"][0]["ports"][0].update(port="web"),
        "opens port web",
    ),
    "monitor": (lambda o: _first(o, "ServiceMonitor")["endpoints"][0].update(port="web"), "ServiceMonitor finds"),
    "metric": (
        lambda o: _first(o, "PrometheusRule")["groups"][0]["rules"][0].update(expr="rate(nv_x[1m])"),
        "uses nv_x, which neither Triton nor an engine exposes",
    ),
    "record": (lambda o: _first(o, "PrometheusRule")["groups"][0]["rules"].pop(1), "triton:pending is not recorded"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_semantic_checks_find(render: Callable[..., Objects], name: str) -> None:
    """A release with one planted error is told from a sound one."""
    plant, sentence = PLANTED[name]
    objects = render(modes()["hpa"])
    assert find_problems(objects) == []
    plant(objects)
    assert any(sentence in problem for problem in find_problems(objects)), find_problems(objects)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda pod, _: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod, _: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "volume x is of type"),
        (lambda pod, own: pod.pop("securityContext") and own.pop("runAsNonRoot"), "may run as root"),
        (lambda _, own: own.update(privileged=True), "is privileged"),
        (lambda _, own: own.pop("allowPrivilegeEscalation"), "may escalate"),
        (lambda _, own: own.update(capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}), "adds capabilities"),
        (lambda _, own: own.update(capabilities={}), "does not drop"),
        (lambda _, own: own.update(seccompProfile={"type": "Unconfined"}), "no seccomp profile"),
        (lambda _, own: own.update(runAsUser=0), "runs as root"),
    ],
    ids=["host", "volume", "user", "privileged", "escalation", "add", "drop", "seccomp", "root"],
)  # fmt: skip
def test_pod_security_finds(render: Callable[..., Objects], change: Callable[..., Any], sentence: str) -> None:
    """Each rule of the standard is one that the check knows."""
    pod = next(each for each in pod_templates(render()) if each.serves).spec
    assert find_violations(pod) == []
    change(pod, pod["containers"][0]["securityContext"])
    assert any(sentence in violation for violation in find_violations(pod))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda o: _container(o)["ports"][0].update(name="a-very-long-port"), "port name"),
        (lambda o: _container(o)["ports"].append(_container(o)["ports"][0]), "port 8000 is there 2 times"),
        (lambda o: _container(o)["env"].append(_container(o)["env"][1]), "variable HOME is there 2 times"),
        (lambda o: _container(o)["resources"]["requests"].update(cpu="3", memory="3Gi"), "requests more memory"),
        (lambda o: _pod(o)["volumes"][0].update(name="Tmp"), "name Tmp"),
        (lambda o: _first(o, "HorizontalPodAutoscaler").update(minReplicas=0), "minReplicas 0"),
        (lambda o: select(o, "ConfigMap")[0]["data"].update({"a/b": ""}), "ConfigMap key a/b"),
        (lambda o: o[0]["metadata"]["labels"].update({"a b": "c"}), "label a b=c"),
        (lambda o: _pod(o).update(terminationGracePeriodSeconds=5), "sleeps longer"),
    ],
    ids=["port", "ports", "variable", "request", "volume", "replicas", "key", "label", "sleep"],
)
def test_api_rules_find(render: Callable[..., Objects], change: Callable[..., Any], sentence: str) -> None:
    """Each rule that an API server has and no schema holds is one that the check knows."""
    objects = render(modes()["hpa"])
    assert find_rejections(objects) == []
    change(objects)
    assert any(sentence in rejection for rejection in find_rejections(objects)), find_rejections(objects)


def test_custom_resource_schemas_find(render: Callable[..., Objects]) -> None:
    """An unknown field and a wrong type in a custom resource are errors."""
    item = select(render(modes()["keda"]), "ScaledObject")[0]
    item["spec"]["pollInterval"] = 5
    item["spec"]["maxReplicaCount"] = "10"
    assert len(find_schema_errors(item)) == 2


def test_a_key_given_twice_is_found() -> None:
    """YAML that Kubernetes would read by dropping a key does not parse here."""
    with pytest.raises(yaml.YAMLError, match="given twice"):
        parse("a: 1\nb: 2\na: 3\n")
