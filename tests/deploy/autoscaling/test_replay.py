"""The autoscaler replayed on load curves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serve_deploy.autoscaling.hpa import Pod, propose
from serve_deploy.autoscaling.replay import Budget, Delays, Replay, daily_curve, ramp_curve, replay, step_curve
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler

# An M/D/2 queue by Erlang's C: two requests at once, 20 ms each, so 100/s at most; p99 <= 100 ms holds up to 74/s.
LOADS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99]
REPLICA = MeasuredReplica(tuple((100 * load, 2 * load + load**3 / (1 - load**2)) for load in LOADS), knee_rate=74)
DELAYS = Delays(cold_start_seconds=60)
RATE = 0.727 * 74
CONCURRENCY = REPLICA.in_flight(RATE)


def run(name: str, *, concurrency: float = CONCURRENCY, window: int | None = None, most: int = 16) -> Replay:
    scaler = autoscaler(ScalingTargets(concurrency=concurrency, pending=1.0, min_replicas=3, max_replicas=most), 60)
    if window is not None:
        scaler = replace(scaler, scale_down=replace(scaler.scale_down, stabilization_seconds=window))
    base, peak = 2.2 * RATE, 12 * RATE
    curve, hours = {
        "step": (step_curve(base, 1.5 * base, 600), 1),
        "doubling": (step_curve(base, 2 * base, 600), 1),
        "ramp": (ramp_curve(base, peak, 300, 1 / 600), 2),
        "day": (daily_curve(base, peak), 24),
        "constant": (step_curve(base, base, 0), 1),
    }[name]
    return replay(name, curve, 3600 * hours, scaler, REPLICA, DELAYS)


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("constant", Budget(0, 0, 0)),
        ("step", Budget(0.001, 2, 0)),
        ("doubling", Budget(0.05, 2, 2 * 105 + 60)),
        ("ramp", Budget(0.01, 2, 60)),
        ("day", Budget(0.001, 1, 60)),
    ],
)
def test_derived_targets_keep_the_objective_and_hold_still(name: str, budget: Budget) -> None:
    """With the target below the knee and our behavior every curve stays within its budget."""
    result = run(name)
    assert result.within(budget), result


def test_a_target_at_saturation_breaks_the_objective() -> None:
    """Held at 95 % of the capacity instead of below the knee, the ramp misses the objective and the replicas flap."""
    result = run("ramp", concurrency=REPLICA.in_flight(95))
    assert (result.breach_fraction > 0.1, result.turns_per_hour > 4) == (True, True)


def test_too_few_replicas_break_the_objective() -> None:
    """With the maximum below the peak no target helps."""
    assert run("day", most=4).breach_fraction > 0.3


def test_the_scale_down_window_prevents_flapping() -> None:
    """Without the window the day's dips and the metric's delay make the replicas turn more often."""
    assert run("day", window=0).turns_per_hour > run("day").turns_per_hour


def test_a_day_of_thousands_of_replicas_is_replayed() -> None:
    """A thousand times the traffic needs a thousand times the replicas; each kind of replica is computed once."""
    targets = ScalingTargets(concurrency=CONCURRENCY, pending=1.0, min_replicas=3000, max_replicas=16_000)
    result = replay("day", daily_curve(2200 * RATE, 12_000 * RATE), 86_400, autoscaler(targets, 60), REPLICA, DELAYS)
    assert result.breach_fraction == 0
    assert max(count for _, count in result.replicas) == pytest.approx(12_000, rel=0.1)


@pytest.mark.parametrize(("load", "by_concurrency"), [(0.80, 2), (0.90, 4), (0.95, 7), (0.98, 17)])
def test_concurrency_sees_saturation_that_the_rate_does_not(load: float, by_concurrency: int) -> None:
    """M/D/1 with a target of 70 % load: what one replica makes the HPA ask for; by rate it would always be 2."""
    target, in_flight = (each + each**2 / (1 - each) / 2 for each in (0.7, load))
    scaler = autoscaler(ScalingTargets(concurrency=target, pending=1, min_replicas=1, max_replicas=50), 60)
    metric = scaler.metrics[0]
    assert propose(scaler, metric, 1, [Pod("a", values={metric.name: in_flight})], {}) == by_concurrency


def test_measured_replica_interpolates_its_points() -> None:
    """Between the points, from nothing at no load; those beyond the service time wait."""
    measured = MeasuredReplica(((100, 1), (180, 2), (240, 4)), knee_rate=180)
    assert measured.in_flight(50) == pytest.approx(0.5)
    assert measured.in_flight(210) == pytest.approx(3)
    assert measured.waiting(210) == pytest.approx(0.9)
    assert (measured.misses(170, 0), measured.misses(181, 0), measured.misses(0, 1)) == (False, True, True)
