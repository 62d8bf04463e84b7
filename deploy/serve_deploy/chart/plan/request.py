"""What `serve chart` is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serve_deploy.autoscaling.capacity import DEFAULT_GROWTH_PER_SECOND
from serve_deploy.chart.values import ChartValues
from serve_deploy.reports.report import LoadTestReport


@dataclass(frozen=True, kw_only=True)
class ChartRequest:
    """What the user asked for; None leaves it to be derived. `overrides` are values as --values and --set give them."""

    release: str | None = None
    gpu: str | None = None
    cloud: str = ""
    source: str | None = None
    autoscaling: Literal["hpa", "keda", "off"] = "hpa"
    min_replicas: int | None = None
    max_replicas: int | None = None
    slo_p99_seconds: float | None = None
    base_rate: float | None = None
    peak_rate: float | None = None
    growth_per_second: float = DEFAULT_GROWTH_PER_SECOND
    prometheus: str | None = None
    report: LoadTestReport | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def override(overrides: Mapping[str, Any], path: str) -> Any:
    """The value that --values or --set give at a dotted path; None where they give none."""
    value: Any = overrides
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True)
class DerivedValue:
    """One value of the chart by its dotted path, and a sentence on where it came from."""

    path: str
    value: Any
    origin: str


@dataclass(frozen=True)
class ChartPlan:
    """The chart's values, their origins, and what the user should know or do next."""

    release: str
    values: ChartValues
    derived: tuple[DerivedValue, ...]
    notes: tuple[str, ...]
