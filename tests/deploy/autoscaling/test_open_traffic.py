"""The twin of a sweep: what a replica does with independent arrivals, against queues whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_sweeps import simulated_ensemble_sweep, simulated_sweep
from sweeps import SWEEP

from serve_deploy.autoscaling.capacity import Circumstances
from serve_deploy.autoscaling.open_traffic import OpenReplica, replay_openly
from serve_deploy.autoscaling.pod import ModelTraffic
from serve_deploy.autoscaling.scaling_plan import plan_scaling
from serve_deploy.autoscaling.sweep import rising_branch, usable_loads
from serve_deploy.calibration.swept import build_twin
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import (
    Batching,
    Ensemble,
    PoissonRate,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Step,
    Times,
    simulate,
)

ALONE = ServedModel(name="m", service=ServiceTimes.by_batch({1: 0.01}))
BATCHED = ServedModel(name="m", service=ServiceTimes.linear(0.005, 0.001, 8), max_batch_size=8, batching=Batching())
BATCHING = 'name: "m" max_batch_size: 8 dynamic_batching { }'


def openly(sweep: LoadTestReport, slo_seconds: float = 0.05) -> OpenReplica:
    return replay_openly(sweep, rising_branch(usable_loads(sweep)[0]), slo_seconds)


def test_the_table_is_that_of_the_queue() -> None:
    """M/D/1 of 10 ms: what is in flight and waits at 80 % is by Pollaczek and Khinchine 2.4 and 1.6."""
    found = openly(simulated_sweep(ALONE))
    assert found.replica, found.explanation
    assert found.replica.in_flight(80) == pytest.approx(2.4, rel=0.1)
    assert found.replica.waiting(80) == pytest.approx(1.6, rel=0.15)
    assert found.replica.capacity == pytest.approx(96, rel=0.01)


def test_independent_arrivals_reach_the_objective_sooner() -> None:
    """Ten users are answered within 100 ms, at 100/s; of independent arrivals at 80/s 1 % take longer.

    The p99 of M/D/1 at 75 % is about nine service times.
    """
    found = openly(simulated_sweep(ALONE), 0.1)
    assert found.replica
    assert 70 < found.replica.knee_rate < 80


@pytest.mark.parametrize(
    "model",
    [
        BATCHED,
        replace(BATCHED, batching=Batching(max_queue_delay_seconds=0.003)),
        replace(BATCHED, instances=2),
        replace(
            BATCHED,
            instances=2,
            service=ServiceTimes(
                {(size, busy): Times.constant((0.005 + 0.001 * size) * busy) for size in (1, 8) for busy in (1, 2)}
            ),
        ),
    ],
    ids=["one instance", "a delay", "two instances", "two on one core"],
)
def test_the_twin_of_a_sweep_is_the_server_that_was_swept(model: ServedModel) -> None:
    """What is in flight at half of the capacity is what the server itself has there."""
    delay = model.batching.max_queue_delay_seconds * 1e6 if model.batching else 0
    text = f'name: "m" max_batch_size: 8 dynamic_batching {{ max_queue_delay_microseconds: {delay:.0f} }}'
    found = openly(simulated_sweep(model, text))
    assert found.replica, found.explanation
    rate = found.replica.capacity / 2
    there = simulate(ServerModel(models=(model,)), PoissonRate(rate), requests=20_000).model
    assert found.replica.in_flight(rate) == pytest.approx(there.mean_in_flight, rel=0.1)


def test_an_ensemble_is_counted_by_its_own_requests() -> None:
    """In flight is what its clients wait for, as in its sweep; waiting is what waits for any member."""
    models = (replace(ALONE, name="a"), replace(ALONE, name="b", service=ServiceTimes.by_batch({1: 0.008})))
    server = ServerModel(models=models, ensembles=(Ensemble("e", (Step("a"), Step("b", (0,)))),))
    step = 'step { model_name: "%s" input_map { key: "x" value: "%s" } output_map { key: "y" value: "%s" } }'
    steps = f"{step % ('a', 'in', 't')} {step % ('b', 't', 'out')}"
    text = f'name: "e" platform: "ensemble" input {{ name: "in" }} ensemble_scheduling {{ {steps} }}'
    found = openly(simulated_ensemble_sweep(server, text, {"a": 'name: "a"', "b": 'name: "b"'}), 0.2)
    assert found.replica, found.explanation
    there = simulate(server, PoissonRate(60), requests=20_000)
    assert found.replica.in_flight(60) == pytest.approx(there.stream.mean_in_flight, rel=0.1)
    assert found.replica.waiting(60) == pytest.approx(sum(each.mean_waiting for each in there.models), rel=0.15)


def test_a_twin_that_does_not_repeat_the_sweep_is_not_believed() -> None:
    """Where Triton's figures of its batches do not explain the throughput, the sweep itself is replayed."""
    odd = replace(BATCHED, service=ServiceTimes.linear(0.001, 0.0005, 8))
    found = openly(simulated_sweep(BATCHED, BATCHING, seen_as=odd))
    assert found.replica is None
    assert "% off the sweep's at concurrency" in found.explanation


def test_loads_at_which_the_server_collapsed_are_no_measure_of_it() -> None:
    """At the most users clients took the CPU, and executions twice the time: the twin is that of the loads below."""
    sweep = simulated_sweep(BATCHED, BATCHING)
    *rising, last = sweep.points
    (account,) = last.server
    slow = account.model_copy(
        update={
            "batches": tuple(each.model_copy(update={"compute_us": 2 * each.compute_us}) for each in account.batches)
        }
    )
    fallen = last.model_copy(update={"throughput": last.throughput / 2, "server": (slow,)})
    found = build_twin(sweep.model_copy(update={"points": (*rising, fallen)}))
    assert isinstance(found, ServerModel)
    assert found.models[0].service.at(8).mean == pytest.approx(0.013, rel=0.02)


def test_where_the_twin_is_off_is_said() -> None:
    """The p99 of 16 users was measured at twice what the twin has, and nothing of the server explains it."""
    sweep = simulated_sweep(BATCHED, BATCHING)
    doubled = [
        each.model_copy(update={"response": each.response.model_copy(update={"p99_us": 2 * each.response.p99_us})})
        if each.load.concurrency == 16
        else each
        for each in sweep.points
    ]
    found = openly(sweep.model_copy(update={"points": tuple(doubled)}))
    assert found.replica
    assert "is off (p99 −50.0 % at concurrency 16: " in found.explanation


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name: "m" sequence_batching { }', "sequence batching"),
        ('name: "m" model_transaction_policy { decoupled: true }', "decoupled"),
    ],
)
def test_what_is_not_simulated_is_said(text: str, reason: str) -> None:
    """Schedulers other than Triton's dynamic batcher and its default have no twin."""
    found = openly(simulated_sweep(ALONE, text))
    assert (found.replica, reason in found.explanation) == (None, True)


def test_a_report_without_batches_has_no_twin() -> None:
    """Reports of older versions lack the server's figures of each batch size."""
    found = openly(simulated_sweep(BATCHED, BATCHING).model_copy(update={"points": SWEEP}))
    assert found.replica is None
    assert "lacks" in found.explanation


def test_a_sweep_of_a_few_executions_has_no_twin() -> None:
    """Executions of 10 s in periods of 20 s say too little of each batch size."""
    found = openly(simulated_sweep(replace(ALONE, service=ServiceTimes.by_batch({1: 10.0}))), 1000)
    assert found.replica is None
    assert "too short" in found.explanation


def test_a_rate_at_which_requests_are_refused_is_beyond_the_knee() -> None:
    """Those that are answered wait for none of the refused: their p99 stays within any objective."""
    policy = "default_queue_policy { default_timeout_microseconds: 30000 }"
    text = f'name: "m" max_batch_size: 8 dynamic_batching {{ {policy} }}'
    sweep = simulated_sweep(BATCHED, text)
    sweep = sweep.model_copy(update={"points": sweep.points[:4]})
    found = openly(sweep, 0.1)
    assert found.replica, found.explanation
    assert found.replica.knee_rate < 0.95 * found.replica.capacity


def test_a_sweep_whose_users_do_not_count_has_no_twin() -> None:
    """As where the load generator limited each of these loads, and only rates are left."""
    sweep = simulated_sweep(ALONE)
    rates = [replace(each, users=None) for each in rising_branch(usable_loads(sweep)[0])]
    assert replay_openly(sweep, rates, 0.05).explanation == "none of its loads of one or more users counts"


def test_the_autoscaler_is_tried_on_independent_arrivals() -> None:
    """The plan says which knee its replays had, lower than the sweep's, and still passes them all."""
    asked = Circumstances(slo_p99_seconds=0.06, cold_start_seconds=60)
    plan = plan_scaling([ModelTraffic(simulated_sweep(BATCHED, BATCHING))], asked)
    facts = {fact.name: fact for fact in plan.capacity.derived}
    assert facts["replayed_knee_rate"].value < facts["knee_rate"].value
    assert "by the twin" in facts["replayed_knee_rate"].origin
    assert all(trial.passed for trial in plan.trials)


def test_an_objective_that_nobody_asked_for_binds_the_users_of_the_sweep_alone() -> None:
    """Twice the lightest p99 of users who wait is no objective for independent arrivals: the sweep is replayed."""
    asked = Circumstances(slo_p99_seconds=None, cold_start_seconds=60)
    plan = plan_scaling([ModelTraffic(simulated_sweep(BATCHED, BATCHING))], asked)
    facts = {fact.name: fact for fact in plan.capacity.derived}
    assert facts["replayed_knee_rate"].value == facts["knee_rate"].value
    assert "the objective is taken from them" in facts["replayed_knee_rate"].origin
