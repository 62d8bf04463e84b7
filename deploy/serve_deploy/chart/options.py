"""What `serve chart` may be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from serve_deploy.option import Made, Option
from serve_deploy.overrides import read_overrides
from serve_deploy.planning.objectives import read_objective
from serve_deploy.planning.scaling_options import (
    DEFAULT_GROWTH_PERCENT,
    SCALING,
    BaseRate,
    Growth,
    MaxReplicas,
    Metric,
    MinReplicas,
    Mix,
    PeakRate,
    Slo,
)
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import TrustOptions

if TYPE_CHECKING:
    from serve_deploy.planning.saved import ChosenPlan
    from serve_deploy.reports.gates import Gate
    from serve_deploy.reports.report import LoadTestReport
else:
    # Too slow to import for a list of options, and needed only by type checkers.
    ChosenPlan = Gate = LoadTestReport = object

_CHART, _MODELS, _WRITING = "Chart", "Models and GPU", "Writing"


def read_capacity(
    capacity: Annotated[
        tuple[Path, ...],
        Option(
            "Derive the scaling targets from this sweep of serve loadtest; repeat it for each model of the pod.",
            metavar="REPORT",
            group=SCALING,
        ),
    ] = (),
) -> tuple[LoadTestReport, ...]:
    """The load-test reports in these files."""
    from serve_deploy.reports.saved_reports import read_report

    return tuple(map(read_report, capacity))


def read_chosen_plan(
    plan: Annotated[
        str | None,
        Option(
            "Take the targets from this plan of serve plan; of several profiles the one that is named, or that of the"
            " GPU.",
            metavar="[PROFILE=]PLAN",
            group=SCALING,
        ),
    ] = None,
) -> ChosenPlan | None:
    """The plan in this file."""
    from serve_deploy.planning.options import split_profile
    from serve_deploy.planning.saved import ChosenPlan, read_plan

    if plan is None:
        return None
    profile, path = split_profile(plan)
    return ChosenPlan(read_plan(path), profile)


@dataclass(frozen=True, kw_only=True)
class ChartOptions:
    """What was asked for; None leaves it to be derived. `overrides` are chart values that replace derived ones."""

    directory: Annotated[Path, Option("The chart directory to write.", metavar="DIR", group=_CHART)] = Path(
        "deploy-chart"
    )
    name: Annotated[str | None, Option("The chart's name; by default that of the directory.", group=_CHART)] = None
    release: Annotated[
        str | None, Option("Triton container release, such as 24.10.", metavar="RELEASE", group=_CHART)
    ] = None
    source: Annotated[
        str | None,
        Option(
            "Where the release reads the repository: s3://, gs://, as://, pvc://, oci:// or https://…tar.gz; a store of"
            " serve push, @ID names a snapshot of it; by default the chart contains the models.",
            metavar="URL",
            group=_MODELS,
        ),
    ] = None
    check_source: Annotated[
        bool, Option("Do not look whether the source holds the repository's models.", group=_MODELS)
    ] = True
    trust: Annotated[TrustOptions, Made(TrustOptions)] = field(default_factory=TrustOptions)
    # The store of which the repository is a copy, received by `trust`.
    pulled_from: StoreAddress | None = None
    gpu: Annotated[str | None, Option("GPU of each replica, such as l4.", metavar="PROFILE", group=_MODELS)] = None
    cloud: Annotated[str, Option("Where that GPU runs: gke, eks, aks, oke or onprem.", group=_MODELS)] = ""
    slo: Slo = ()
    reports: Annotated[tuple[LoadTestReport, ...], Made(read_capacity)] = ()
    mix: Mix = None
    plan: Annotated[ChosenPlan | None, Made(read_chosen_plan)] = None
    autoscaling: Annotated[Literal["hpa", "keda", "off"], Option("What scales the replicas.", group=SCALING)] = "hpa"
    metric: Metric = None
    prometheus: Annotated[str | None, Option("The Prometheus that KEDA asks.", metavar="URL", group=SCALING)] = None
    min_replicas: MinReplicas = None
    max_replicas: MaxReplicas = None
    base_rate: BaseRate = None
    peak_rate: PeakRate = None
    growth_percent_per_minute: Growth = DEFAULT_GROWTH_PERCENT
    overrides: Annotated[Mapping[str, Any], Made(read_overrides)] = field(default_factory=dict)
    package: Annotated[bool, Option("Also write NAME-VERSION.tgz beside the directory.", group=_WRITING)] = False
    push: Annotated[
        str | None, Option("Push the packed chart to this registry, with helm.", metavar="oci://…", group=_WRITING)
    ] = None
    diff: Annotated[bool, Option("Show what would change in the directory, write nothing.", group=_WRITING)] = False
    dry_run: Annotated[bool, Option("Show what would be written, write nothing.", group=_WRITING)] = False
    force: Annotated[bool, Option("Replace a chart that exists already.", group=_WRITING)] = False

    def __post_init__(self) -> None:
        """Refuse an objective that scaling cannot hold, whatever else is asked for."""
        _ = self.objectives

    @property
    def objectives(self) -> tuple[Gate, ...]:
        """`slo`, read; UsageError for what scaling cannot hold."""
        return tuple(map(read_objective, self.slo))
