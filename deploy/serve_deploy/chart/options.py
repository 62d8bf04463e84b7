"""What `serve chart` may be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.overrides import read_overrides

if TYPE_CHECKING:
    from serve_deploy.reports.gates import Gate
    from serve_deploy.reports.report import LoadTestReport
else:
    # Too slow to import for a list of options, and needed only by type checkers.
    Gate = LoadTestReport = object

_CHART, _MODELS, _SCALING, _WRITING = "Chart", "Models and GPU", "Scaling", "Writing"


def read_objective(text: str) -> Gate:
    """An objective that more load makes harder to keep: a limit of the p99, or of a token stream's figures."""
    from serve_deploy.reports.gates import parse_gate

    gate = parse_gate(text)
    upper = gate.comparison in ("<", "<=")
    if not ((is_p99(gate) and upper) or (gate.needs_tokens and upper != (gate.figure == "goodput"))):
        raise UsageError(
            f"`slo={text}`: scaling needs an upper limit for the p99, or an objective of token streams",
            hint="for example 'p99<50ms', 'ttft_p99<500ms', 'itl_p99<50ms' or 'goodput>95%'",
        )
    return gate


def is_p99(gate: Gate) -> bool:
    """Whether it limits the p99 of the response time."""
    return gate.figure in ("p99", "response_p99", "e2e_p99")


def read_capacity(
    capacity: Annotated[
        tuple[Path, ...],
        Option(
            "Derive the scaling targets from this sweep of serve loadtest; repeat it for each model of the pod.",
            metavar="REPORT",
            group=_SCALING,
        ),
    ] = (),
) -> tuple[LoadTestReport, ...]:
    """The load-test reports in these files."""
    from serve_deploy.reports.saved_reports import read_report

    return tuple(map(read_report, capacity))


def _read_mix(text: str) -> Mapping[str, float]:
    from serve_deploy.chart.traffic import read_mix

    return read_mix(text)


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
            "Where the release reads the repository: s3://, gs://, as://, pvc://, oci:// or https://…tar.gz;"
            " by default the chart contains the models.",
            metavar="URL",
            group=_MODELS,
        ),
    ] = None
    gpu: Annotated[str | None, Option("GPU of each replica, such as l4.", metavar="PROFILE", group=_MODELS)] = None
    cloud: Annotated[str, Option("Where that GPU runs: gke, eks, aks, oke or onprem.", group=_MODELS)] = ""
    slo: Annotated[
        tuple[str, ...],
        Option(
            "An objective, such as 'p99<50ms', or of token streams 'ttft_p99<500ms'; repeat it for several.",
            metavar="GATE",
            group=_SCALING,
        ),
    ] = ()
    reports: Annotated[tuple[LoadTestReport, ...], Made(read_capacity)] = ()
    mix: Annotated[
        Mapping[str, float] | None,
        Option(
            "Each model's share of the requests, where several were measured; by default equal.",
            metavar="MODEL=N,…",
            group=_SCALING,
            read=_read_mix,
        ),
    ] = None
    autoscaling: Annotated[Literal["hpa", "keda", "off"], Option("What scales the replicas.", group=_SCALING)] = "hpa"
    metric: Annotated[
        str | None,
        Option(
            "What counts the requests of a decoupled Python model: its gauge of requests in flight, or its histogram of"
            " request times (…_seconds).",
            metavar="NAME",
            group=_SCALING,
        ),
    ] = None
    prometheus: Annotated[str | None, Option("The Prometheus that KEDA asks.", metavar="URL", group=_SCALING)] = None
    min_replicas: Annotated[int | None, Option("Fewest replicas.", group=_SCALING)] = None
    max_replicas: Annotated[int | None, Option("Most replicas.", group=_SCALING)] = None
    base_rate: Annotated[
        float | None,
        Option("Requests/s at the quietest time, to derive `min_replicas`.", metavar="N", group=_SCALING),
    ] = None
    peak_rate: Annotated[
        float | None,
        Option("Requests/s at the busiest time, to derive `max_replicas`.", metavar="N", group=_SCALING),
    ] = None
    growth_percent_per_minute: Annotated[
        float,
        Option("How fast the load may grow, as a share of the base per minute.", metavar="PERCENT", minimum=0,
               group=_SCALING),
    ] = 10.0  # fmt: skip
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

    @property
    def slo_p99_seconds(self) -> float | None:
        """The lowest p99 that an objective allows."""
        return min((gate.threshold * gate.factor / 1e6 for gate in self.objectives if is_p99(gate)), default=None)

    @property
    def stream_objectives(self) -> tuple[Gate, ...]:
        """The objectives of token streams."""
        return tuple(gate for gate in self.objectives if not is_p99(gate))
