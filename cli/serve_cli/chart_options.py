"""The options of `serve chart`, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.reports.report import LoadTestReport

_SCALING, _WRITING = "Scaling", "Writing"


class Autoscaler(StrEnum):
    """What adds and takes away replicas."""

    hpa = "hpa"
    keda = "keda"
    off = "off"


Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The chart directory to write.")]
Name = Annotated[
    str | None, typer.Option(help="The chart's name; that of the directory by default.", show_default=False)
]
Gpu = Annotated[str | None, typer.Option(metavar="PROFILE", help="GPU of a replica, such as l4.", show_default=False)]
Cloud = Annotated[str, typer.Option(help="Where that GPU runs: gke, eks, aks, oke or onprem.", show_default=False)]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the release reads the repository: s3://, gs://, as://, pvc://, oci:// or https://…tar.gz;"
        " without it the chart carries the models.",
        show_default=False,
    ),
]
Scaler = Annotated[Autoscaler, typer.Option("--autoscaling", help="What scales.", rich_help_panel=_SCALING)]
Min = Annotated[int | None, typer.Option("--min", metavar="N", help="Fewest replicas.", show_default=False)]
Max = Annotated[int | None, typer.Option("--max", metavar="N", help="Most replicas.", show_default=False)]
Slo = Annotated[str | None, typer.Option(metavar="GATE", help="The objective, such as 'p99<50ms'.", show_default=False)]
Capacity = Annotated[
    Path | None,
    typer.Option(metavar="REPORT", help="A sweep of serve loadtest; gives the scaling targets.", show_default=False),
]
BaseRate = Annotated[
    float | None, typer.Option(metavar="N", help="Requests/s at the quietest, for --min.", show_default=False)
]
PeakRate = Annotated[
    float | None, typer.Option(metavar="N", help="Requests/s at the busiest, for --max.", show_default=False)
]
Growth = Annotated[
    float,
    typer.Option(metavar="PERCENT", min=0, help="How fast the load may grow, in percent of the base a minute."),
]
Prometheus = Annotated[
    str | None, typer.Option(metavar="URL", help="The Prometheus that KEDA asks.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="One value of the chart (YAML). Repeatable.", show_default=False),
]
Values = Annotated[
    list[Path] | None,
    typer.Option("--values", "-f", metavar="FILE", help="Values of the chart. Repeatable.", show_default=False),
]
Package = Annotated[bool, typer.Option("--package", help="Also write NAME-VERSION.tgz beside the directory.")]
Push = Annotated[
    str | None, typer.Option(metavar="oci://…", help="Push the packed chart, with helm.", show_default=False)
]
Diff = Annotated[bool, typer.Option("--diff", help="Show what would change in the directory, write nothing.")]


def read_objective(slo: str | None) -> float | None:
    """The p99 that --slo asks for, in seconds."""
    if slo is None:
        return None
    from serve_deploy.reports.gates import parse_gate

    gate = parse_gate(slo)
    if gate.figure not in ("p99", "response_p99") or gate.comparison not in ("<", "<="):
        raise UsageError(f"--slo {slo}: scaling needs an upper bound of the p99", hint="such as 'p99<50ms'")
    return gate.threshold * gate.factor / 1e6


def read_capacity(path: Path | None) -> LoadTestReport | None:
    """The report of --capacity."""
    if path is None:
        return None
    from serve_deploy.rendering.saved_reports import read_report

    return read_report(path)


def read_overrides(files: Sequence[Path], settings: Sequence[str]) -> dict[str, Any]:
    """The values of --values and --set, later ones over earlier ones."""
    import yaml

    from serve_deploy.chart.plan import merge_values

    values: dict[str, Any] = {}
    for path in files:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"--values {path}: {error}") from error
        if not isinstance(document, dict):
            raise UsageError(f"--values {path} is no map of values")
        values = merge_values(values, document)
    for setting in settings:
        values = merge_values(values, _read_setting(setting))
    return values


def _read_setting(setting: str) -> dict[str, Any]:
    import yaml

    path, equals, text = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise UsageError(f"--set {setting} is no PATH=VALUE", hint="such as --set autoscaling.maxReplicas=12")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {setting}: {error}") from error
    for part in reversed(path.split(".")):
        value = {part: value}
    document: dict[str, Any] = value
    return document
