"""Targets and replays of token streams, worked by hand.

The sweep: 1, 8, 16, 24 streams in flight, 0.5, 2, 3.2, 4 requests a second; first tokens after 0.1, 0.15, 0.3, 1.1 s.
"""

from __future__ import annotations

import pytest
from sweeps import point, report, statistics, streams

from serve_deploy.autoscaling.capacity import Circumstances, derive_capacity
from serve_deploy.autoscaling.pod import MeasuredPod, ModelTraffic, measure_pod
from serve_deploy.autoscaling.replay import Delays, replay, step_curve
from serve_deploy.autoscaling.scaling_plan import plan_scaling
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import ScalingTargets, autoscaler, window_basis
from serve_deploy.errors import ThresholdError
from serve_deploy.reports.gates import Gate, parse_gate
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.point import Point

LOADS = ((1, 0.5, 100.0, 20.0), (8, 2.0, 150.0, 30.0), (16, 3.2, 300.0, 45.0), (24, 4.0, 1100.0, 60.0))


SWEEP = tuple(streams(*load) for load in LOADS)


def measure(*objectives: str, points: tuple[Point, ...] = SWEEP) -> MeasuredPod:
    return measure_pod([ModelTraffic(report(*points))], None, [parse_gate(text) for text in objectives])


def ungraded(point: Point) -> Generation:
    """What was measured of its streams, but not which of them were good."""
    assert point.generation
    return point.generation.model_copy(update={"good": None, "objectives": ()})


@pytest.mark.parametrize(
    ("objectives", "knee"),
    [
        (("ttft_p99<500ms",), 3.2),
        (("itl_p99<40ms",), 2.0),
        (("ttft_p99<500ms", "itl_p99<40ms"), 2.0),
        (("goodput>80%",), 2.0),
        (("ttft_p99<2s", "itl_p99<60.1ms"), 4.0),
    ],
)
def test_knee_keeps_every_objective(objectives: tuple[str, ...], knee: float) -> None:
    """The highest rate that keeps all of them; the line names them."""
    pod = measure(*objectives)
    assert pod.replica.knee_rate == knee
    assert all(text in pod.derived[0].origin for text in objectives)


def test_p99_and_token_objectives_hold_together() -> None:
    """5 s of response time are reached at 16 in flight, though first tokens are in time there."""
    gates = [parse_gate("ttft_p99<500ms")]
    assert measure_pod([ModelTraffic(report(*SWEEP))], 4.5, gates).replica.knee_rate == 2.0


def test_objectives_that_no_load_keeps() -> None:
    """The message names the load that comes nearest, and what it measured."""
    with pytest.raises(ThresholdError, match="concurrency 1 comes nearest with ttft_p99<50ms: 100 ms"):
        measure("ttft_p99<50ms")


def test_goodput_of_a_sweep_without_objectives_asks_for_another_sweep() -> None:
    """A slower load, or a faster model, would not help."""
    points = [each.model_copy(update={"generation": ungraded(each)}) for each in SWEEP]
    with pytest.raises(ThresholdError, match="no objective says which requests are good") as refused:
        measure("goodput>80%", points=tuple(points))
    assert refused.value.hint
    assert "`objectives`" in refused.value.hint


def test_objective_of_tokens_without_tokens_is_for_other_models() -> None:
    """In a mixed pod it holds for the streams alone."""
    pod = measure("ttft_p99<500ms", points=(point(1, 100, 12), point(2, 180, 20), point(4, 240, 45)))
    assert (pod.replica.knee_rate, pod.slo_p99_seconds) == (180, 0.024)


def test_triton_s_account_of_a_stream_is_not_believed() -> None:
    """It ends before the first token: the client's own count stands."""
    blind = tuple(each.model_copy(update={"server": (statistics("digits", 1000, 0, 780),)}) for each in SWEEP)
    pod = measure("ttft_p99<500ms", points=blind)
    assert pod.measured_by == "by the client"
    assert pod.replica.points[1] == (2.0, 8.0)


def test_guard_is_what_waits_for_its_first_token() -> None:
    """4 a second that wait a second longer than alone are 4 waiting; a slower decode is no queue."""
    pod = measure("ttft_p99<2s")
    assert pod.pending == pytest.approx(4.0)
    assert "time to first token" in pod.pending_origin
    # 16 in flight at 3.2/s, of which 3.2 * (0.3 - 0.1) wait
    assert pod.replica.waiting(3.2) == pytest.approx(0.64)


def test_a_plan_for_streams_is_tried() -> None:
    """The replays pass, and the target is measured below the knee: u = 0.8/1.1 of 3.2/s, between 8 and 16 in flight."""
    asked = Circumstances(gates=(parse_gate("ttft_p99<500ms"),), exporter="vllm-backend", cold_start_seconds=60)
    plan = plan_scaling([ModelTraffic(report(*SWEEP))], asked)
    rate = plan.capacity.utilisation * 3.2
    assert 2.0 < rate < 3.2
    assert plan.capacity.targets.concurrency == pytest.approx(8 + 8 * (rate - 2.0) / 1.2)
    assert all(trial.passed for trial in plan.trials)


@pytest.mark.parametrize(
    ("exporter", "seconds"), [("", 5.0), ("seconds", 5.0), ("vllm-backend", 0.5), ("vllm", 0.5), ("gauge", 0.5)]
)
def test_window_follows_from_what_is_counted(exporter: str, seconds: float) -> None:
    """Requests that end, or first tokens and gauges."""
    gates: tuple[Gate, ...] = (parse_gate("ttft_p99<500ms"), parse_gate("itl_p99<50ms"))
    assert window_basis(exporter, 5.0, gates) == seconds


def first_rise(delays: Delays) -> float:
    """When the replicas first change after the load doubles at 600 s."""
    replica = MeasuredReplica(((1.0, 10.0), (2.0, 20.0)), 2.0)
    scaler = autoscaler(ScalingTargets(concurrency=12.0, pending=100.0, min_replicas=2, max_replicas=8), 60)
    log = replay("step", step_curve(2.0, 4.0, 600), 1800, scaler, replica, delays).replicas
    return next(at for at, count in log if at > 600 and count > 2)


def test_a_metric_of_finished_requests_is_late() -> None:
    """Requests of 60 s are seen 60 s later."""
    on_time, late = first_rise(Delays(60)), first_rise(Delays(60, lag_seconds=60))
    assert late - on_time == pytest.approx(60, abs=15)


def test_guard_of_unanswered_requests_needs_twice_what_is_served() -> None:
    """Three times the capacity of a replica raise it; a slight overload does not, as the concurrency sees that."""
    replica = MeasuredReplica(((1.0, 1.0), (2.0, 2.0)), 2.0)
    scaler = autoscaler(ScalingTargets(concurrency=1000.0, pending=10.0, min_replicas=1, max_replicas=8), 60)
    delays = Delays(60, counts_unanswered=True)
    calm = replay("step", step_curve(1.0, 3.0, 300), 900, scaler, replica, delays)
    flooded = replay("step", step_curve(1.0, 6.0, 300), 900, scaler, replica, delays)
    assert {count for _, count in calm.replicas} == {1}
    assert max(count for _, count in flooded.replicas) > 1


def test_capacity_says_what_was_kept() -> None:
    """The p99 that alerts and replays use is the one at the knee, and is said to be so."""
    pod = measure("ttft_p99<500ms")
    capacity = derive_capacity(pod, Circumstances())
    assert capacity.slo_p99_seconds == pytest.approx(5.0)
    assert next(each.origin for each in capacity.derived if each.name == "slo_p99").startswith("measured at the knee")


def test_streams_beside_an_ordinary_model() -> None:
    """2 % of the requests are streams: 1 / (0.02 / 3.2 + 0.98 / 180) = 85.5/s, and 53 % of the work is theirs."""
    digits = report(point(1, 100, 12), point(2, 180, 20), point(4, 240, 45))
    traffic = [ModelTraffic(report(*SWEEP), 0.02), ModelTraffic(digits, 0.98)]
    replica = measure_pod(traffic, None, [parse_gate("ttft_p99<500ms")]).replica
    assert replica.knee_rate == pytest.approx(85.5, abs=0.1)
    streams_part = 0.02 * replica.knee_rate / 3.2
    assert replica.in_flight(replica.knee_rate) == pytest.approx(streams_part * 16 + (1 - streams_part) * 2)
    # 0.64 streams wait for their first token, and 2 - 180 / 100 requests of the other model.
    assert replica.waiting(replica.knee_rate) == pytest.approx(streams_part * 0.64 + (1 - streams_part) * 0.2)
