"""What replays take, whatever the load: replica-hours, and energy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_deploy.autoscaling.replay import Delays, Replay, daily_curve, ramp_curve, replay, step_curve
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler
from serve_deploy.planning.costs import energy_kwh, per_million

# An M/D/2 queue by Erlang's C: two requests at once, 20 ms each, so 100/s at most; p99 <= 100 ms holds up to 74/s.
LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
REPLICA = MeasuredReplica(tuple((100 * load, 2 * load + load**3 / (1 - load**2)) for load in LOADS), knee_rate=74)
RATE = 0.727 * 74
LEAST, MOST, HOUR = 2, 40, 3600.0
rates = st.floats(1, 20 * RATE)
CURVES = {
    "step": lambda low, high: step_curve(low, high, 600),
    "ramp": lambda low, high: ramp_curve(low, high, 300, 1 / 600),
    "day": daily_curve,
}


def take(kind: str, base: float, peak: float, hours: float = 2) -> Replay:
    targets = ScalingTargets(concurrency=REPLICA.in_flight(RATE), pending=1.0, min_replicas=LEAST, max_replicas=MOST)
    return replay(kind, CURVES[kind](base, peak), hours * HOUR, autoscaler(targets, 60), REPLICA, Delays(60))


@pytest.mark.parametrize("kind", sorted(CURVES))
def test_three_times_the_load_takes_more_replica_hours(kind: str) -> None:
    """The same curve with more requests takes more; a ramp that overshoots can hide a small difference."""
    assert take(kind, 3 * RATE, 6 * RATE).replica_hours > take(kind, RATE, 2 * RATE).replica_hours


@settings(max_examples=30)
@given(kind=st.sampled_from(sorted(CURVES)), base=rates, growth=st.floats(1, 4))
def test_replica_hours_lie_between_the_fewest_and_the_most(kind: str, base: float, growth: float) -> None:
    """So many replicas for as long as it lasts, and never fewer than the work itself takes where all of it is done."""
    found = take(kind, base, growth * base)
    counts = [count for _, count in found.replicas]
    assert min(counts) * 2 - 1e-9 <= found.replica_hours <= max(counts) * 2 + 1e-9
    assert LEAST <= min(counts) <= max(counts) <= MOST
    if not found.breach_seconds:
        assert found.replica_hours * HOUR * REPLICA.capacity >= found.requests


@given(base=rates, watts=st.floats(1, 1000))
def test_a_constant_power_takes_the_replica_hours_times_it(base: float, watts: float) -> None:
    """Whatever the load does."""
    found = take("step", base, 2 * base)
    used = energy_kwh(found, CURVES["step"](base, 2 * base), [(10.0, watts), (90.0, watts)])
    assert used == pytest.approx(found.replica_hours * watts / 1000, rel=0.01)


def test_energy_follows_the_replicas_as_they_come() -> None:
    """Two replicas at 30/s each draw 30 W for an hour, then four at 45/s each 45 W for the next."""
    steps = replace(take("step", 60, 180), replicas=((0.0, 2), (3600.0, 4)))
    drawn = energy_kwh(steps, step_curve(60, 180, 3600), [(0.0, 0.0), (100.0, 100.0)])
    assert drawn == pytest.approx(0.060 + 0.180)


def test_nothing_served_has_no_price_each() -> None:
    """There is no cost of a million of nothing, and none of what has no price."""
    assert (per_million(3.0, 0.0), per_million(None, 5.0), per_million(3.0, 1.5e6)) == (None, None, 2.0)
