"""What `serve plan` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from serve_deploy.option import Made, Option
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
from serve_deploy.stores.repository_option import read_repository
from serve_deploy.triton.options import RuntimeName

if TYPE_CHECKING:
    from serve_deploy.planning.arrival_traces import Trace
    from serve_deploy.planning.prices import Prices
    from serve_deploy.reports.gates import Gate
    from serve_deploy.reports.report import LoadTestReport
else:
    # Too slow to import for a list of options, and needed only by type checkers.
    Gate = LoadTestReport = Prices = Trace = object

_TRAFFIC, _REPLICA = "Traffic and prices", "Replica"


@dataclass(frozen=True)
class ProfileSweep:
    """A sweep, the hardware profile that it was measured on, and what it was read from."""

    profile: str
    report: LoadTestReport
    source: str = ""


def split_profile(text: str) -> tuple[str | None, Path]:
    """The profile, if one is named, and the file of `l4=sweep.json`."""
    profile, equals, path = text.partition("=")
    if equals and profile.strip() and "/" not in profile:
        return profile.strip(), Path(path)
    return None, Path(text)


def read_sweeps(
    sweeps: Annotated[
        tuple[str, ...],
        Option(
            "Sweeps of serve loadtest, each of one hardware profile; several of one profile are models of one pod.",
            metavar="[PROFILE=]REPORT",
        ),
    ],
) -> tuple[ProfileSweep, ...]:
    """The reports in these files; without a name, the profile is called as the file is."""
    from serve_deploy.reports.saved_reports import read_report

    named = map(split_profile, sweeps)
    return tuple(ProfileSweep(profile or path.stem, read_report(path), str(path)) for profile, path in named)


def read_given_trace(
    trace: Annotated[
        Path | None,
        Option(
            "Replay these arrivals, too, and pay for them: a CSV of times, or of rates by interval.",
            metavar="FILE",
            group=_TRAFFIC,
        ),
    ] = None,
) -> Trace | None:
    """The trace in this file."""
    from serve_deploy.planning.arrival_traces import read_trace

    return read_trace(trace) if trace else None


def read_given_prices(
    prices: Annotated[
        Path | None, Option("What a replica of each profile costs an hour (TOML).", metavar="FILE", group=_TRAFFIC)
    ] = None,
) -> Prices | None:
    """The prices in this file."""
    from serve_deploy.planning.prices import read_prices

    return read_prices(prices) if prices else None


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Which sweeps to plan with, and for what traffic; None leaves a value to be derived."""

    sweeps: Annotated[tuple[ProfileSweep, ...], Made(read_sweeps)]
    base_rate: BaseRate = None
    peak_rate: PeakRate = None
    growth_percent_per_minute: Growth = DEFAULT_GROWTH_PERCENT
    slo: Slo = ()
    mix: Mix = None
    autoscaling: Annotated[Literal["hpa", "keda"], Option("What scales the replicas.", group=SCALING)] = "hpa"
    metric: Metric = None
    min_replicas: MinReplicas = None
    max_replicas: MaxReplicas = None
    trace: Annotated[Trace | None, Made(read_given_trace)] = None
    prices: Annotated[Prices | None, Made(read_given_prices)] = None
    repository: Annotated[
        Path | None,
        Option(
            "The models: the sweeps must be theirs, and a Triton is started on them once to time its start.",
            metavar="DIR",
            group=_REPLICA,
            read=read_repository,
        ),
    ] = None
    runtime: Annotated[
        RuntimeName | None, Option("The Triton to start; by default the first that works here.", group=_REPLICA)
    ] = None
    cold_start_seconds: Annotated[
        float | None,
        Option("From a new replica to its first answer, where you measured it in your cluster.", group=_REPLICA),
    ] = None

    def __post_init__(self) -> None:
        """Refuse an objective that scaling cannot hold, whatever else is asked for."""
        _ = self.objectives

    @property
    def objectives(self) -> tuple[Gate, ...]:
        """`slo`, read; UsageError for what scaling cannot hold."""
        return tuple(map(read_objective, self.slo))
