"""A pod of several models: their sweeps and their shares of the traffic, worked by hand."""

from __future__ import annotations

import pytest
from sweeps import TARGET, point, report

from serve_deploy.autoscaling.capacity import Circumstances, derive_capacity
from serve_deploy.autoscaling.pod import MeasuredPod, ModelTraffic, measure_pod
from serve_deploy.autoscaling.scaling_plan import plan_scaling
from serve_deploy.reports.report import LoadTestReport


def sweep(model: str, *, times: float = 1, cpu_cores: float | None = None) -> LoadTestReport:
    """The clean sweep (knee 240/s under 50 ms) of a model that is so many times as fast."""
    points = [
        point(n, rate * times, p99, server_cpu_cores=cpu_cores)
        for n, rate, p99 in ((1, 100, 12), (2, 180, 20), (4, 240, 45), (8, 250, 90))
    ]
    return report(*points).model_copy(update={"target": TARGET.model_copy(update={"model": model})})


def pod(*traffic: ModelTraffic) -> MeasuredPod:
    return measure_pod(traffic, 0.05)


def test_two_models_alike_are_one() -> None:
    """Whatever their shares, two models with the same sweep do what one of them does."""
    mixed = pod(ModelTraffic(sweep("a"), 0.75), ModelTraffic(sweep("b"), 0.25))
    alone = pod(ModelTraffic(sweep("a")))
    assert mixed.replica.knee_rate == pytest.approx(alone.replica.knee_rate)
    assert mixed.pending == pytest.approx(alone.pending)
    for rate in (50, 174, 240):
        assert mixed.replica.in_flight(rate) == pytest.approx(alone.replica.in_flight(rate))


def test_the_work_of_a_fast_and_a_slow_model_adds_up() -> None:
    """Half of the requests go to a model of 2400/s and half to one of 240/s: 1 / (0.5/2400 + 0.5/240) = 436/s."""
    mixed = pod(ModelTraffic(sweep("fast", times=10), 0.5), ModelTraffic(sweep("slow"), 0.5))
    assert mixed.replica.knee_rate == pytest.approx(1 / (0.5 / 2400 + 0.5 / 240))
    # At the knee each has 4 in flight alone, so the pod has 4, whoever does the work.
    assert mixed.replica.in_flight(mixed.replica.knee_rate) == pytest.approx(4)
    facts = {fact.name: fact for fact in mixed.derived}
    assert facts["knee_rate of fast"].value == 2400
    assert "9 % of the work" in facts["share of fast"].origin
    assert "measured alone" in facts["knee_rate"].origin


def test_every_number_of_a_mix_has_its_reason() -> None:
    """The targets of a mix are derived like those of one model, and tried in the same replays."""
    traffic = [ModelTraffic(sweep("a", times=2), 0.5, "`mix`"), ModelTraffic(sweep("b"), 0.5, "`mix`")]
    plan = plan_scaling(traffic, Circumstances(slo_p99_seconds=0.05, cold_start_seconds=60))
    assert plan.capacity.target_rate == pytest.approx(320 * 0.8 / 1.1)
    assert all(fact.origin for fact in plan.capacity.derived)
    assert all(trial.passed for trial in plan.trials)
    assert "share of the work" in next(
        fact.origin for fact in plan.capacity.derived if fact.name == "target_concurrency"
    )


def test_the_cpu_of_a_pod_is_that_of_its_hungriest_model() -> None:
    """Where one sweep did not see the server's CPU, that of the pod is not known."""
    hungry, modest = sweep("a", cpu_cores=1.7), sweep("b", cpu_cores=0.4)
    assert pod(ModelTraffic(hungry, 0.5), ModelTraffic(modest, 0.5)).cpu_cores == 1.7
    assert pod(ModelTraffic(hungry, 0.5), ModelTraffic(sweep("b"), 0.5)).cpu_cores is None


def test_large_rates_are_written_without_exponents() -> None:
    """What is printed of traffic in the millions can be read."""
    asked = Circumstances(slo_p99_seconds=0.05, base_rate=2_000_000, peak_rate=12_345_678)
    origins = " ".join(fact.origin for fact in derive_capacity(pod(ModelTraffic(sweep("a", times=1e4))), asked).derived)
    assert "2,000,000 base" in origins
    assert "12,345,700 peak" in origins
    assert "e+" not in origins
