"""What `serve plan` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from serve_deploy.option import Option
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

if TYPE_CHECKING:
    from serve_deploy.reports.gates import Gate
else:
    # Too slow to import for a list of options, and needed only by type checkers.
    Gate = object

_TRAFFIC, _REPLICA = "Traffic and prices", "Replica"


@dataclass(frozen=True)
class NamedSweep:
    """A file with a sweep, and the hardware profile that it was measured on."""

    profile: str
    path: Path


def read_named_sweep(text: str) -> NamedSweep:
    """Read `l4=sweep.json`; without a name, the profile is called as the file is."""
    profile, path = split_profile(text)
    return NamedSweep(profile or path.stem, path)


def split_profile(text: str) -> tuple[str | None, Path]:
    """The profile, if one is named, and the file of `l4=sweep.json`."""
    profile, equals, path = text.partition("=")
    if equals and profile.strip() and "/" not in profile:
        return profile.strip(), Path(path)
    return None, Path(text)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Which sweeps to plan with, and for what traffic; None leaves a value to be derived."""

    sweeps: Annotated[
        tuple[NamedSweep, ...],
        Option(
            "Sweeps of serve loadtest, each of one hardware profile; several of one profile are models of one pod.",
            metavar="[PROFILE=]REPORT",
            read=read_named_sweep,
        ),
    ]
    base_rate: BaseRate = None
    peak_rate: PeakRate = None
    growth_percent_per_minute: Growth = DEFAULT_GROWTH_PERCENT
    slo: Slo = ()
    mix: Mix = None
    autoscaling: Annotated[Literal["hpa", "keda"], Option("What scales the replicas.", group=SCALING)] = "hpa"
    metric: Metric = None
    min_replicas: MinReplicas = None
    max_replicas: MaxReplicas = None
    trace: Annotated[
        Path | None,
        Option(
            "Replay these arrivals, too, and pay for them: a CSV of times, or of rates by interval.",
            metavar="FILE",
            group=_TRAFFIC,
        ),
    ] = None
    prices: Annotated[
        Path | None, Option("What a replica of each profile costs an hour (TOML).", metavar="FILE", group=_TRAFFIC)
    ] = None
    repository: Annotated[
        Path | None,
        Option(
            "The models: the sweeps must be theirs, and a Triton is started on them once to time its start.",
            metavar="DIR",
            group=_REPLICA,
        ),
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
