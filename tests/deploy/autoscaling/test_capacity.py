"""From a sweep to targets, worked by hand."""

from __future__ import annotations

import re

import pytest
from sweeps import SWEEP, TARGET, UNEVEN, point, report, statistics

from serve_deploy.autoscaling.capacity import (
    Capacity,
    Circumstances,
    check_origin,
    derive_capacity,
    utilisation,
)
from serve_deploy.autoscaling.derived import Derived
from serve_deploy.autoscaling.pod import ModelTraffic, measure_pod
from serve_deploy.autoscaling.scaling_plan import plan_scaling
from serve_deploy.autoscaling.sweep import usable_loads
from serve_deploy.errors import InvalidModelError, ThresholdError, UsageError
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport


def derive(*points: Point, **circumstances: object) -> Capacity:
    asked = Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60, **circumstances)
    return derive_from(report(*points), asked)


def derive_from(sweep: LoadTestReport, circumstances: Circumstances) -> Capacity:
    return derive_capacity(measure_pod([ModelTraffic(sweep)], circumstances.slo_p99_seconds), circumstances)


def test_targets_of_a_clean_sweep() -> None:
    """Knee 240/s; T = 15+15+15+60 = 105 s; u = 0.8/1.1; the target rate 174.5/s lies between 100/s and 180/s."""
    capacity = derive()
    assert (capacity.replica.knee_rate, capacity.dropped) == (240, ())
    assert capacity.target_rate == pytest.approx(240 * 0.8 / 1.1)
    # 1 + (2 - 1) * (174.545 - 100) / 80
    assert capacity.targets.concurrency == pytest.approx(1.93182, abs=1e-4)
    assert (capacity.targets.min_replicas, capacity.targets.max_replicas) == (2, 8)


def test_faster_growth_and_slower_start_leave_more_room() -> None:
    """u = 1/(1 + g*T), between 0.4 and 0.8, divided by the HPA's tolerance of 1.1."""
    assert utilisation(1 / 600, 105) == pytest.approx(0.8 / 1.1)
    assert utilisation(1 / 600, 600) == pytest.approx(0.5 / 1.1)
    assert utilisation(1 / 60, 600) == pytest.approx(0.4 / 1.1)


def test_pending_guard_is_the_queue_at_the_knee() -> None:
    """240 requests/s that wait 10 ms are 2.4 waiting; an ensemble's member counts with the ensemble."""
    served = [(1, 100, 12), (2, 180, 20), (4, 240, 45), (8, 250, 90)]
    alone = derive(*(point(*each, server=(statistics("digits", int(each[1] * 10), 10_000, 4_000),)) for each in served))
    both = derive(
        *(
            point(*each, server=(statistics("digits", int(each[1] * 10), 0, 0), statistics("member", 2400, 12_500, 1)))
            for each in served
        )
    )
    assert alone.targets.pending == pytest.approx(2.4)
    assert both.targets.pending == pytest.approx(3.0)


def test_concurrency_of_an_ensemble_is_what_the_client_saw() -> None:
    """Triton counts members' compute times in an ensemble's, but not their queues: its own account is too short."""
    served = [(1, 100, 12), (2, 180, 20), (4, 240, 45), (8, 250, 90)]
    accounts = (statistics("digits", 2400, 0, 4_000), statistics("member", 2400, 12_500, 4_000))
    ensemble = derive(*(point(*each, server=accounts) for each in served))
    assert ensemble.targets.concurrency == derive(*(point(*each) for each in served)).targets.concurrency


def test_tritons_account_of_a_decoupled_model_does_not_count() -> None:
    """It ends when the backend takes a request: 0.1 ms of answers that take 10 ms and more."""
    served = [(1, 100, 12), (2, 180, 20), (4, 240, 45), (8, 250, 90)]
    sweep = report(*(point(*each, server=(statistics("digits", int(each[1] * 10), 20, 80),)) for each in served))
    decoupled = sweep.target.model_copy(update={"scheduling": {"model_transaction_policy": {"decoupled": True}}})
    asked = Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60)
    capacity = derive_from(sweep.model_copy(update={"target": decoupled}), asked)
    assert capacity.targets == derive().targets
    assert derive_from(sweep, Circumstances(cold_start_seconds=60)).targets.concurrency < 0.1


def test_pending_guard_without_server_figures() -> None:
    """At the knee 4/240 s, alone 1/100 s: 240 * 6.67 ms = 1.6 waiting."""
    assert derive().targets.pending == pytest.approx(1.6)


def test_pending_guard_is_at_least_one() -> None:
    """A queue of a fraction of a request is no reason to scale."""
    points = [point(n, rate, p99, pending=0.2) for n, rate, p99 in ((1, 100, 12), (2, 180, 20), (4, 240, 45))]
    guard = next(each for each in derive(*points).derived if each.name == "pending_guard")
    assert guard.value == 1
    assert "0.20" in guard.origin


def test_the_servers_own_concurrency_is_preferred() -> None:
    """What is on the wire is not in flight for the autoscaler: 2 ms of 10 ms inside the server are 0.2 of 1."""
    points = [
        point(n, rate, p99, server=(statistics("digits", 1000, 0, 2_000),))
        for n, rate, p99 in ((1, 100, 12), (2, 180, 20), (4, 240, 45))
    ]
    capacity = derive(*points)
    assert capacity.targets.concurrency == pytest.approx(capacity.target_rate * 0.002)
    assert any("by the server" in each.origin for each in capacity.derived)


def test_a_knee_at_the_heaviest_load_is_said_to_be_no_limit() -> None:
    """The sweep ended before the server did: the targets are safe, and too low."""
    knees = {
        len(points): next(each for each in derive(*points).derived if each.name == "knee_rate").origin
        for points in (SWEEP[:2], SWEEP)
    }
    assert "sweep further" in knees[2]
    assert "sweep further" not in knees[len(SWEEP)]


def test_one_request_that_waits_is_no_plural() -> None:
    """A guard of 1 is one request."""
    assert Derived("pending_guard", 1.0, "requests waiting", "").text == "1 request waiting"
    assert Derived("pending_guard", 2.5, "requests waiting", "").text == "2.5 requests waiting"


def test_faster_growth_asks_for_more_spare() -> None:
    """At 60 % a minute the share of the knee is lower than at the default 10 %."""
    assert derive(growth_per_second=0.01).target_rate < derive().target_rate


def test_replicas_follow_the_traffic() -> None:
    """At 174.5/s a replica, 1000/s need 6 at least and 3000/s * 1.25 need 22 at most."""
    targets = derive(base_rate=1000, peak_rate=3000).targets
    assert (targets.min_replicas, targets.max_replicas) == (6, 22)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (point(8, 250, 40, request_rate=200.0), "client-bound .asked for 8 in flight, had 6.4"),
        (point(8, 250, 40, client_bound=True, client_bound_reasons=("CPU 97 %",)), "client-bound .CPU 97 %"),
        (point(8, 250, 40, failed=2), "of the requests failed"),
        (point(8, 250, 40, succeeded=0, failed=1000), "no request succeeded"),
    ],
)
def test_points_that_are_not_the_servers_are_dropped(bad: Point, reason: str) -> None:
    """A point that the generator or errors have spoiled is left out by name, so the knee stays at 240/s."""
    capacity = derive(*SWEEP[:3], bad)
    assert capacity.replica.knee_rate == 240
    assert len(capacity.dropped) == 1
    assert re.search(reason, capacity.dropped[0])


def test_a_load_test_that_was_cut_short_says_so() -> None:
    """What it would have measured further on is missing, and the knee may lie there."""
    partial = {"complete": False, "interrupted_reason": "interrupted while measuring"}
    _, dropped = usable_loads(report().model_copy(update=partial))
    assert dropped == ("further loads: the load test was cut short (interrupted while measuring)",)


def test_users_whom_models_share_need_not_be_at_one_of_them() -> None:
    """Eight users of two models are some of the time with the other one, which is no fault of the generator."""
    busy = point(8, 250, 40, request_rate=100.0)
    shared = busy.model_copy(update={"load": busy.load.model_copy(update={"shared_by": 2})})
    dropped = [usable_loads(report(SWEEP[0], each))[1] for each in (busy, shared)]
    assert list(map(len, dropped)) == [1, 0]


def test_repeats_are_reduced_to_their_medians() -> None:
    """Three repeats of one load are one load."""
    loads, _ = usable_loads(report(*(point(2, rate, 20) for rate in (170, 180, 200)), SWEEP[0]))
    assert [load.rate for load in loads] == [100, 180]


def test_objective_that_no_load_keeps() -> None:
    """An objective below the best p99 is a missed threshold, with the best that there is."""
    with pytest.raises(ThresholdError, match=r"no measured load keeps p99 <= 5 ms; the best is 12\.0 ms"):
        derive_from(report(), Circumstances(slo_p99_seconds=0.005))


def test_without_objective_twice_the_lightest_p99() -> None:
    """Without an objective the knee is sought under twice the p99 of the lightest load: 24 ms, so 180/s."""
    capacity = derive_from(report(), Circumstances())
    assert (capacity.slo_p99_seconds, capacity.replica.knee_rate) == (0.024, 180)


def test_a_single_load_is_no_sweep() -> None:
    """One point says nothing of where the server saturates."""
    with pytest.raises(UsageError, match=r"too few usable loads \(1\)"):
        derive(SWEEP[0])


def test_min_above_max_is_refused() -> None:
    """The two numbers and their origins are named."""
    with pytest.raises(UsageError, match=r"min replicas 6 .* exceeds max replicas 3 \(`max_replicas`\)"):
        derive(base_rate=1000, max_replicas=3)


def test_report_of_another_model_or_configuration_is_refused() -> None:
    """Capacity belongs to one model in one configuration, with as many instances."""
    measured = TARGET.model_copy(update={"instances": 2})
    check_origin(measured, {"digits": ("a" * 64, None)})
    check_origin(measured, {"digits": ("a" * 64, 2)})
    with pytest.raises(InvalidModelError, match="measured digits; the repository has other"):
        check_origin(measured, {"other": ("a" * 64, None)})
    with pytest.raises(InvalidModelError, match="leaves tensors to Triton's auto-complete"):
        check_origin(measured, {"digits": (None, None)})
    with pytest.raises(InvalidModelError, match="with another configuration"):
        check_origin(measured, {"digits": ("b" * 64, None)})
    with pytest.raises(InvalidModelError, match=r"with 2 instances; the repository's config\.pbtxt has 1"):
        check_origin(measured, {"digits": ("a" * 64, 1)})


def test_every_number_says_where_it_came_from() -> None:
    """All derived numbers have an origin in words."""
    derived = derive().derived
    assert {each.name for each in derived} >= {"knee_rate", "utilisation", "target_concurrency", "pending_guard"}
    assert all(each.origin for each in derived)


def test_a_peak_below_the_fewest_replicas_says_which_number_counts() -> None:
    """One replica would do for the peak; two stay, and the line does not claim that the peak takes two."""
    (most,) = [each for each in derive(base_rate=1, peak_rate=10).derived if each.name == "max_replicas"]
    assert most.value == 2
    assert re.fullmatch(r"as many as min, for 1\.25 \* 10 peak / [0-9.]+ target requests/s is 1", most.origin)


def test_plan_is_replayed_and_accepted() -> None:
    """The clean sweep's targets pass all three trials as they were derived, and each trial is reported."""
    circumstances = Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60)
    plan = plan_scaling([ModelTraffic(report())], circumstances)
    assert plan.capacity.utilisation == pytest.approx(0.8 / 1.1)
    assert [trial.replay.curve for trial in plan.trials] == ["doubling", "ramp", "day"]
    assert all(trial.passed for trial in plan.trials)
    assert [trial.derived.name for trial in plan.trials] == ["replay_doubling", "replay_ramp", "replay_day"]


def test_plan_that_cannot_keep_up_is_refused() -> None:
    """Three replicas of 175/s cannot serve a peak of 3000/s, whatever the targets."""
    circumstances = Circumstances(slo_p99_seconds=0.05, peak_rate=3000, min_replicas=2, max_replicas=3)
    with pytest.raises(ThresholdError, match="no targets keep the objective"):
        plan_scaling([ModelTraffic(report())], circumstances)


def test_a_server_that_serves_less_when_overloaded() -> None:
    """At 16 in flight it serves 200/s, between two lighter loads: that point tells nothing of either."""
    with_collapse = derive_from(
        report(*SWEEP, point(16, 200, 300)), Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60)
    )
    assert with_collapse.targets == derive().targets
    assert with_collapse.replica.points == ((100, 1), (180, 2), (240, 4), (250, 8))


def test_targets_are_lowered_until_the_replays_pass() -> None:
    """A server that saturates abruptly flaps at the computed utilisation; a lower one holds still, and says why."""
    abrupt = report(point(1, 100, 12), point(12, 140, 40), point(16, 145, 49))
    plan = plan_scaling([ModelTraffic(abrupt)], Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60))
    (origin,) = (each.origin for each in plan.capacity.derived if each.name == "utilisation")
    assert plan.capacity.utilisation < 0.8 / 1.1
    assert origin.startswith("lowered: 0.")


def test_an_uneven_sweep_holds_still_by_removing_replicas_later() -> None:
    """Every lower target turns ten times an hour too, though no request misses the objective."""
    plan = plan_scaling([ModelTraffic(report(*UNEVEN))], Circumstances(slo_p99_seconds=0.1, cold_start_seconds=60))
    (window,) = (each for each in plan.capacity.derived if each.name == "down_window")
    assert plan.capacity.utilisation == pytest.approx(0.8 / 1.1)
    assert plan.capacity.targets.down_window_seconds == window.value == 1200
    assert re.fullmatch(r"longer: with 300 s there were [\d.]+ turns an hour on the \w+", window.origin)
    assert all(trial.passed for trial in plan.trials)
