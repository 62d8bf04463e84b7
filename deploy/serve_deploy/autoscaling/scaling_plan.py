"""From a sweep to targets that were tried: derive them, replay the autoscaler, lower them until it keeps up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from serve_deploy.autoscaling.capacity import Capacity, Circumstances, derive_capacity
from serve_deploy.autoscaling.derived import Derived
from serve_deploy.autoscaling.hpa import Autoscaler
from serve_deploy.autoscaling.pod import MeasuredPod, ModelTraffic, measure_pod
from serve_deploy.autoscaling.replay import Budget, Curve, Delays, Replay, daily_curve, ramp_curve, replay, step_curve
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler, down_windows, window_basis, window_seconds
from serve_deploy.errors import ThresholdError
from serve_deploy.reports.figures import format_share

LOWERED = 0.9
ATTEMPTS = 6


@dataclass(frozen=True)
class Trial:
    """A replay, its curve in requests/s, and the budget it had to keep."""

    replay: Replay
    curve: Curve
    budget: Budget

    @property
    def passed(self) -> bool:
        """Whether it did."""
        return self.replay.within(self.budget)

    @property
    def keeps_objective(self) -> bool:
        """Whether it kept the objective, however often the replicas turned."""
        return self.replay.within(replace(self.budget, turns_per_hour=math.inf))

    @property
    def derived(self) -> Derived:
        """The trial as a line for the user: the share of requests beyond the objective."""
        counts = [count for _, count in self.replay.replicas]
        origin = (
            f"replayed on the {self.replay.curve}: {self.replay.turns_per_hour:.1f} turns an hour,"
            f" {min(counts)}-{max(counts)} replicas"
        )
        name = f"replay_{self.replay.curve}"
        return Derived(name, 100 * self.replay.breach_fraction, "% of requests beyond the objective", origin)


@dataclass(frozen=True)
class Stage:
    """What curves are replayed on: an autoscaler, the replicas that it scales, and how late it learns."""

    scaler: Autoscaler
    replica: MeasuredReplica
    delays: Delays

    def replay(self, name: str, curve: Curve, seconds: float) -> Replay:
        """What the autoscaler does with so many seconds of a curve."""
        return replay(name, curve, seconds, self.scaler, self.replica, self.delays)


@dataclass(frozen=True)
class DerivedScaling:
    """What a chart takes of a plan: the targets, where each number came from, and the cores of a replica, if known.

    Rates are requests/s of a replica: the highest that keeps the objectives, and the one that the targets hold.
    """

    targets: ScalingTargets
    slo_p99_seconds: float
    knee_rate: float
    target_rate: float
    derived: tuple[Derived, ...]
    dropped: tuple[str, ...]
    cpu_cores: float | None = None


@dataclass(frozen=True)
class ScalingPlan:
    """Targets that kept the objective and held still in every trial, and the pod that they are for.

    On its `stage` further curves can be replayed.
    """

    pod: MeasuredPod
    capacity: Capacity
    trials: tuple[Trial, ...]
    stage: Stage

    @property
    def scaling(self) -> DerivedScaling:
        """What is to be set, and why."""
        capacity = self.capacity
        return DerivedScaling(
            targets=capacity.targets,
            slo_p99_seconds=capacity.slo_p99_seconds,
            knee_rate=capacity.replica.knee_rate,
            target_rate=capacity.target_rate,
            derived=(*capacity.derived, *(trial.derived for trial in self.trials)),
            dropped=capacity.dropped,
            cpu_cores=self.pod.cpu_cores,
        )


def plan_scaling(traffic: Sequence[ModelTraffic], circumstances: Circumstances, *, keda: bool = False) -> ScalingPlan:
    """Derive targets and lower them until all trials pass; ThresholdError where none do.

    Where lower targets keep the objective but do not hold still, replicas are removed later instead.
    """
    pod = measure_pod(traffic, circumstances.slo_p99_seconds, circumstances.gates)
    held: tuple[int, str] | None = None
    for window in down_windows(circumstances.cold_start_seconds):
        if held:
            held = (window, held[1])
        plan, failed = _lower(pod, circumstances, held, keda=keda)
        if plan:
            return plan
        if not failed.keeps_objective:
            break
        held = held or (window, f"longer: with {window} s there were {_count_turns(failed.replay)}")
    raise _nothing_passes(failed)


def _lower(
    pod: MeasuredPod, circumstances: Circumstances, held: tuple[int, str] | None, *, keda: bool
) -> tuple[ScalingPlan | None, Trial]:
    """Lower the targets until all trials pass: the plan, if there is one, and the trial that failed last."""
    lowered: tuple[float, str] | None = None
    for _ in range(ATTEMPTS):
        capacity = derive_capacity(pod, circumstances, lowered, held)
        stage = _set_stage(pod.replayed, capacity, circumstances, keda=keda)
        trials = tuple(
            Trial(stage.replay(name, curve, 3600 * hours), curve, budget)
            for name, curve, hours, budget in _curves(capacity, circumstances)
        )
        # A missed objective counts before replicas that do not hold still.
        failed = min(trials, key=lambda trial: (trial.keeps_objective, trial.passed))
        if failed.passed:
            return ScalingPlan(pod, capacity, trials, stage), failed
        missed = f"{format_share(failed.replay.breach_fraction)} beyond the objective and {_count_turns(failed.replay)}"
        lowered = (LOWERED * capacity.utilisation, f"lowered: {capacity.utilisation:.3f} gave {missed}")
    return None, failed


def _count_turns(happened: Replay) -> str:
    return f"{happened.turns_per_hour:.1f} turns an hour on the {happened.curve}"


def _nothing_passes(failed: Trial) -> ThresholdError:
    happened = failed.replay
    if failed.keeps_objective:
        return ThresholdError(
            f"no targets hold the replicas still: {_count_turns(happened)}, from more to fewer or back",
            hint="the sweep is uneven: measure again with a longer `duration`",
        )
    return ThresholdError(
        f"no targets keep the objective: on a {happened.curve} "
        f"{format_share(happened.breach_fraction)} of the requests miss it "
        f"(for up to {happened.longest_breach_seconds:.0f} s at a time)",
        hint="raise `max_replicas`, shorten the cold start, or relax `slo`",
    )


def _set_stage(replica: MeasuredReplica, capacity: Capacity, circumstances: Circumstances, *, keda: bool) -> Stage:
    # From zero to one is the upstream trigger's business, not the autoscaler's.
    awake = replace(capacity.targets, min_replicas=max(1, capacity.targets.min_replicas))
    scaler = autoscaler(awake, circumstances.cold_start_seconds, keda=keda)
    return Stage(scaler, replica, _delays(capacity, circumstances))


def _delays(capacity: Capacity, circumstances: Circumstances) -> Delays:
    """How late the metrics tell: those of streams while they run, a histogram of request times when they end."""
    window = window_seconds(window_basis(circumstances.exporter, capacity.slo_p99_seconds, circumstances.gates))
    replica, finished = capacity.replica, circumstances.exporter == "seconds"
    return Delays(
        circumstances.cold_start_seconds,
        window,
        lag_seconds=replica.in_flight(replica.knee_rate) / replica.knee_rate if finished else 0.0,
        counts_unanswered=circumstances.exporter in ("vllm-backend", "seconds"),
    )


def _curves(capacity: Capacity, circumstances: Circumstances) -> Iterator[tuple[str, Curve, float, Budget]]:
    """A doubling, a ramp and a day, between the base and the peak of the traffic: hours and budget of each."""
    targets, rate = capacity.targets, capacity.target_rate
    base = circumstances.base_rate or 0.75 * max(1, targets.min_replicas) * rate
    peak = circumstances.peak_rate or max(base, 0.8 * targets.max_replicas * rate)
    reaction = circumstances.reaction_seconds
    # A doubling at once is beyond any target: it may hurt until the new replicas are there, and no longer.
    doubling = Budget(breach_fraction=0.15, turns_per_hour=4, longest_breach_seconds=2 * reaction + 60)
    yield "doubling", step_curve(base, min(2 * base, peak), 600), 2, doubling
    growth = circumstances.growth_per_second
    yield "ramp", ramp_curve(base, peak, 600, growth), 2, Budget(0.01, 4, reaction)
    yield "day", daily_curve(base, peak), 24, Budget(0.001, 2, reaction)
