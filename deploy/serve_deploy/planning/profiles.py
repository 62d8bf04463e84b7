"""One hardware profile of a plan: its targets, and each curve of the load replayed on them, priced. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from serve_deploy.autoscaling.capacity import Circumstances
from serve_deploy.autoscaling.pod import ModelTraffic
from serve_deploy.autoscaling.replay import Curve, Replay
from serve_deploy.autoscaling.scaling_plan import ScalingPlan, plan_scaling
from serve_deploy.errors import ThresholdError
from serve_deploy.planning.arrival_traces import Trace
from serve_deploy.planning.costs import energy_kwh, per_million
from serve_deploy.planning.prices import Prices
from serve_deploy.planning.result import ColdStart, MeasuredModel, PlannedTraffic, ProfilePlan, ReplayedCurve
from serve_deploy.reports.gates import Gate

TRACE = "trace"
_SLICES, _STEP_SECONDS = 120, 15.0


@dataclass(frozen=True)
class Fleet:
    """A profile's name, what its replicas serve, and the file of each model's sweep."""

    profile: str
    traffic: tuple[ModelTraffic, ...]
    files: Mapping[str, str]

    @property
    def has_gpu(self) -> bool:
        """Whether Triton saw a GPU while it was measured."""
        points = (point for each in self.traffic for point in each.report.points)
        return any(name.startswith("nv_gpu_") for point in points for name in point.server_metrics)


@dataclass(frozen=True)
class Conditions:
    """What all profiles are planned under."""

    traffic: PlannedTraffic
    slo_p99_seconds: float | None = None
    gates: tuple[Gate, ...] = ()
    exporter: str = ""
    keda: bool = False
    min_replicas: int | None = None
    max_replicas: int | None = None
    trace: Trace | None = None
    prices: Prices | None = None


def plan_profile(fleet: Fleet, cold_start: ColdStart, conditions: Conditions) -> ProfilePlan:
    """The profile's plan; where no targets keep the objectives, it says so in place of them."""
    described = ProfilePlan(
        profile=fleet.profile,
        models=tuple(_describe_models(fleet)),
        cold_start=cold_start,
        price_per_hour=conditions.prices.per_hour.get(fleet.profile) if conditions.prices else None,
    )
    try:
        found = plan_scaling(fleet.traffic, _circumstances(cold_start, conditions), keda=conditions.keda)
    except ThresholdError as error:
        return described.model_copy(update={"problem": error.message, "hint": error.hint})
    curves = tuple(_replay_curves(found, described.price_per_hour, conditions.trace))
    return described.model_copy(update={"unit": found.pod.output.unit, "scaling": found.scaling, "curves": curves})


def _describe_models(fleet: Fleet) -> Iterator[MeasuredModel]:
    for each in fleet.traffic:
        target = each.report.target
        yield MeasuredModel(
            model=target.model,
            model_config_sha256=target.model_config_sha256,
            instances=target.instances,
            share=each.share,
            report=fleet.files[target.model],
        )


def _circumstances(cold_start: ColdStart, conditions: Conditions) -> Circumstances:
    return Circumstances(
        slo_p99_seconds=conditions.slo_p99_seconds,
        gates=conditions.gates,
        exporter=conditions.exporter,
        cold_start_seconds=cold_start.seconds,
        cold_start_origin=cold_start.origin,
        base_rate=conditions.traffic.base_rate,
        peak_rate=conditions.traffic.peak_rate,
        growth_per_second=conditions.traffic.growth_percent_per_minute / 100 / 60,
        min_replicas=conditions.min_replicas,
        max_replicas=conditions.max_replicas,
    )


def _replay_curves(found: ScalingPlan, price_per_hour: float | None, trace: Trace | None) -> Iterator[ReplayedCurve]:
    for trial in found.trials:
        yield _describe_replay(found, trial.replay, trial.curve, price_per_hour, within=trial.passed)
    if trace:
        replayed = found.stage.replay(TRACE, trace.rate, trace.seconds)
        yield _describe_replay(found, replayed, trace.rate, price_per_hour, within=None)


def _describe_replay(
    found: ScalingPlan, replay: Replay, curve: Curve, price_per_hour: float | None, *, within: bool | None
) -> ReplayedCurve:
    produced = replay.requests * found.pod.output.of_a_request
    cost = None if price_per_hour is None else price_per_hour * replay.replica_hours
    energy = energy_kwh(replay, curve, found.pod.watts) if found.pod.watts else None
    counts = [count for _, count in replay.replicas]
    return ReplayedCurve(
        name=replay.curve,
        seconds=replay.seconds,
        requests=replay.requests,
        produced=produced,
        breach_fraction=replay.breach_fraction,
        breach_seconds=replay.breach_seconds,
        longest_breach_seconds=replay.longest_breach_seconds,
        turns_per_hour=replay.turns_per_hour,
        within_budget=within,
        fewest_replicas=min(counts),
        most_replicas=max(counts),
        replica_hours=replay.replica_hours,
        cost=cost,
        cost_per_million=per_million(cost, produced),
        energy_kwh=energy,
        energy_kwh_per_million=per_million(energy, produced),
        rates=sample_curve(curve, replay.seconds),
        replicas=replay.replicas,
    )


def sample_curve(curve: Curve, seconds: float) -> tuple[tuple[float, float], ...]:
    """The lowest and the highest rate in each slice of the time, in their order: no spike falls between samples."""
    steps = [(at, curve(at)) for at in (_STEP_SECONDS * index for index in range(math.ceil(seconds / _STEP_SECONDS)))]
    size = math.ceil(len(steps) / _SLICES)
    slices = (steps[start : start + size] for start in range(0, len(steps), size))
    return tuple(
        point
        for each in slices
        for point in sorted({min(each, key=lambda step: step[1]), max(each, key=lambda step: step[1])})
    )
