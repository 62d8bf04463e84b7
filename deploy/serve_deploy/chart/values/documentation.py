"""ChartValues walked in order, and written as values.yaml with a comment on each value."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from serve_deploy.chart.values.base import Values
from serve_deploy.chart.values.root import ChartValues

_WIDTH = 110
# Shown at the top of values.yaml; a test renders it.
USUAL_VALUES = """\
modelRepository: {source: s3, uri: "s3://bucket/models", revision: "1"}  # new models: a new revision
models: {load: [resnet]}
gpu: {profile: l4, cloud: gke}
resources: {cpu: "4", memory: 16Gi, ephemeralStorage: 20Gi}
autoscaling: {mode: hpa, minReplicas: 2, maxReplicas: 10, coldStartSeconds: 180}
image: {repository: registry.example.com/tritonserver, pullSecrets: [registry]}
probes: {startupBudgetSeconds: 600}  # the longest time that loading the models may take
gateway: {parentRefs: [{name: web, namespace: gateways}], httpRoute: {enabled: true}}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/models"}}
monitoring: {podMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}
"""


class _HelmDumper(yaml.SafeDumper):
    """Quotes what Helm's YAML would read as a number and Python's does not: 12e5, as a digest may be."""


_HelmDumper.yaml_implicit_resolvers = {
    letter: [("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+")), *resolvers]
    if letter in "+-0123456789"
    else resolvers
    for letter, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Documented:
    """One value: its dotted path, what it is for, and its default; `group` where it has values below it."""

    path: tuple[str, ...]
    description: str
    default: Any
    group: bool


def document_values(values: Values | None = None) -> Iterator[Documented]:
    """Walk all values in the order of their definition, groups before their members."""
    yield from _walk(values if values is not None else ChartValues(), ())


def _walk(values: Values, path: tuple[str, ...]) -> Iterator[Documented]:
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        here = (*path, field.alias or name)
        if isinstance(value, Values):
            description = field.description or inspect.getdoc(type(value)) or ""
            yield Documented(here, description, None, group=True)
            yield from _walk(value, here)
        else:
            yield Documented(here, field.description or "", _plain(value), group=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Values):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def render_values_yaml(values: ChartValues | None = None) -> str:
    """Return values.yaml, each value under a comment that says what it is for."""
    lines = ["# Values of charts/triton. Generated from serve_deploy.chart.values by `make chart-docs`.", "#"]
    lines += ["# What most people set, as an example; everything else can stay as it is:"]
    lines += [*(f"#   {line}" for line in USUAL_VALUES.splitlines()), ""]
    for item in document_values(values):
        indent = "  " * (len(item.path) - 1)
        width = _WIDTH - len(indent) - 2
        lines += [f"{indent}# {line}" for line in textwrap.wrap(item.description, width, break_on_hyphens=False)]
        data = {item.path[-1]: None if item.group else item.default}
        text = yaml.dump(data, Dumper=_HelmDumper, sort_keys=False, width=1000, allow_unicode=True).rstrip("\n")
        text = text.removesuffix(" null") if item.group else text
        lines += [f"{indent}{line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"
