"""A plan: replicas and targets for each measured profile, and what they do and cost on each curve of the load."""

from __future__ import annotations

from typing import Literal

from serve_deploy.autoscaling.scaling_plan import DerivedScaling
from serve_deploy.reports.document import Document

FORMAT_VERSION = 1


class PlannedTraffic(Document):
    """What the fleet is to bear, in requests/s of all models; `trace` is the file that was replayed, if any."""

    base_rate: float
    peak_rate: float
    growth_percent_per_minute: float
    trace: str | None = None


class MeasuredModel(Document):
    """A model whose sweep a plan is made of, by which a repository is recognised."""

    model: str
    model_config_sha256: str
    instances: int | None = None
    share: float
    report: str


class ReplayedCurve(Document):
    """A curve of the load, and what the autoscaler did with it.

    `breach_fraction` is the share of the requests beyond the objective, `breach_seconds` for how long there were any.
    `within_budget` is None where nothing was demanded. `produced` counts the profile's unit of output, such as
    inferences. Cost and energy are None where there is no price, or no power was measured. `rates` samples the load as
    (second, requests/s), `replicas` has each change as (second, replicas).
    """

    name: str
    seconds: float
    requests: float
    produced: float
    breach_fraction: float
    breach_seconds: float
    longest_breach_seconds: float
    turns_per_hour: float
    within_budget: bool | None = None
    fewest_replicas: int
    most_replicas: int
    replica_hours: float
    cost: float | None = None
    cost_per_million: float | None = None
    energy_kwh: float | None = None
    energy_kwh_per_million: float | None = None
    rates: tuple[tuple[float, float], ...] = ()
    replicas: tuple[tuple[float, int], ...] = ()


class ColdStart(Document):
    """Seconds from a new replica to its first answer, of which so many were measured here."""

    seconds: float
    origin: str
    measured_seconds: float | None = None


class ProfilePlan(Document):
    """What one hardware profile would take; `problem` says why there is no plan for it, and then there is no scaling.

    `curves` are those that the targets had to pass, then the trace.
    """

    profile: str
    models: tuple[MeasuredModel, ...]
    problem: str | None = None
    hint: str | None = None
    cold_start: ColdStart
    price_per_hour: float | None = None
    unit: Literal["inferences", "output tokens", "requests"] = "inferences"
    scaling: DerivedScaling | None = None
    curves: tuple[ReplayedCurve, ...] = ()

    @property
    def main_curve(self) -> ReplayedCurve | None:
        """What it is judged and paid by: the trace, else a day."""
        return self.curves[-1] if self.curves else None


class DeploymentPlan(Document):
    """Several profiles side by side, under the same traffic and objectives."""

    format_version: int = FORMAT_VERSION
    tool_version: str
    kind: Literal["plan"] = "plan"
    traffic: PlannedTraffic
    slo: tuple[str, ...]
    autoscaling: Literal["hpa", "keda"]
    exporter: str = ""
    currency: str | None = None
    profiles: tuple[ProfilePlan, ...]
    notes: tuple[str, ...] = ()
