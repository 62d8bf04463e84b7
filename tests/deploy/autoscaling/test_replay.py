"""The autoscaler replayed on load curves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.autoscaling.queueing import MeasuredReplica, QueueReplica, erlang_c
from serve_deploy.autoscaling.replay import Budget, Delays, Replay, daily_curve, ramp_curve, replay, step_curve
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler

# Two requests at once, 20 ms each: 100/s at most; p99 <= 100 ms holds up to about 74/s.
REPLICA = QueueReplica(slots=2, service_seconds=0.02, slo_seconds=0.1)
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


def test_scaling_saves_replicas() -> None:
    """A day costs less than the peak's replicas all day long."""
    result = run("day")
    assert result.replica_hours < 0.7 * 24 * max(n for _, n in result.replicas)


def test_erlang_c_by_hand() -> None:
    """One server: the load itself. Two servers at 1 Erlang: 1/3."""
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


def test_md1_waiting_by_hand() -> None:
    """M/D/1 at 80 %: 0.8² / (2 * 0.2) = 1.6 waiting, 2.4 in flight."""
    single = QueueReplica(slots=1, service_seconds=0.01, slo_seconds=1)
    assert single.waiting(80) == pytest.approx(1.6)
    assert single.in_flight(80) == pytest.approx(2.4)


@pytest.mark.parametrize(("load", "by_concurrency"), [(0.80, 2), (0.90, 4), (0.95, 7), (0.98, 17)])
def test_concurrency_sees_saturation_that_the_rate_does_not(load: float, by_concurrency: int) -> None:
    """M/D/1 with a target of 70 % load: what one current replica makes the HPA ask for; by rate it is always 2."""
    single = QueueReplica(slots=1, service_seconds=0.01, slo_seconds=1)
    target = single.in_flight(70)
    assert math.ceil(single.in_flight(100 * load) / target) == by_concurrency
    assert math.ceil(load / 0.7) == 2


def test_measured_replica_interpolates_its_points() -> None:
    """Between the points, from nothing at no load; those beyond the service time wait."""
    measured = MeasuredReplica(((100, 1), (180, 2), (240, 4)), knee_rate=180, service_seconds=0.01)
    assert measured.in_flight(50) == pytest.approx(0.5)
    assert measured.in_flight(210) == pytest.approx(3)
    assert measured.waiting(210) == pytest.approx(0.9)
    assert (measured.misses(170, 0), measured.misses(181, 0), measured.misses(0, 1)) == (False, True, True)


@given(slots=st.integers(1, 32), load=st.floats(0.01, 0.98))
def test_waiting_grows_with_the_load(slots: int, load: float) -> None:
    """A busier queue is never shorter, and Erlang's probability is one."""
    replica = QueueReplica(slots=slots, service_seconds=0.01, slo_seconds=1)
    assert replica.waiting(load * replica.capacity) <= replica.waiting(min(0.99, load + 0.01) * replica.capacity)
    assert 0 <= erlang_c(slots, load * slots) <= 1
