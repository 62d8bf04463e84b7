"""The twin of an ensemble that was swept, against the server itself, at loads that the sweep did not have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_sweeps import simulated_ensemble_sweep

from serve_deploy.calibration.accuracy import Reached, list_misses
from serve_deploy.calibration.swept import build_twin, explain_load
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import (
    Batching,
    ClosedLoop,
    Ensemble,
    Outside,
    PoissonRate,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Simulated,
    Step,
    Times,
    simulate,
)

VARYING = {size: Times(Times.exponential(0.001).quantiles + 0.003 + 0.0002 * size) for size in (1, 8)}
FIRST = ServedModel(name="first", service=ServiceTimes.by_batch(VARYING), max_batch_size=8, batching=Batching())
SECOND = ServedModel(
    name="second", service=ServiceTimes.linear(0.002, 0.0015, 4), max_batch_size=4, batching=Batching()
)
PLAIN = ServedModel(name="plain", service=ServiceTimes.by_batch({1: 0.001}))
MEMBERS = {
    "first": 'name: "first" max_batch_size: 8 dynamic_batching { }',
    "second": 'name: "second" max_batch_size: 4 dynamic_batching { }',
    "plain": 'name: "plain"',
}
CHAIN = (("first", "in", "t"), ("second", "t", "out"))
FORK = (("first", "in", "t"), ("second", "in", "out"), ("plain", "t", "more"))
OUTSIDE = Outside(times=Times.constant(0.00005), workers=1, latency_seconds=0.0008)


def configured(steps: tuple[tuple[str, str, str], ...]) -> str:
    """An ensemble's configuration, by each step's model, the tensor that it takes, and the one that it makes."""
    text = " ".join(
        f'step {{ model_name: "{model}" model_version: -1 input_map {{ key: "x" value: "{taken}" }}'
        f' output_map {{ key: "y" value: "{made}" }} }}'
        for model, taken, made in steps
    )
    return f'name: "e" platform: "ensemble" input {{ name: "in" }} ensemble_scheduling {{ {text} }}'


def served(*models: ServedModel, after: tuple[tuple[int, ...], ...], cores: float | None = None) -> ServerModel:
    steps = tuple(Step(model.name, each) for model, each in zip(models, after, strict=True))
    shared = tuple(replace(model, cores_used=1.0 if cores else 0.0) for model in models)
    return ServerModel(models=shared, ensembles=(Ensemble("e", steps),), outside=OUTSIDE, cores=cores)


def sweep(server: ServerModel, steps: tuple[tuple[str, str, str], ...]) -> LoadTestReport:
    return simulated_ensemble_sweep(server, configured(steps), {model: MEMBERS[model] for model, _, _ in steps})


def reached(found: Simulated) -> Reached:
    p50, p99 = (found.stream.response.percentile(each) * 1e6 for each in (50, 99))
    return Reached(found.stream.throughput, p50, p99)


@pytest.mark.parametrize(
    ("server", "steps"),
    [
        (served(FIRST, SECOND, after=((), (0,))), CHAIN),
        (served(FIRST, SECOND, PLAIN, after=((), (), (0,))), FORK),
        (served(FIRST, replace(SECOND, instances=2), after=((), (0,))), CHAIN),
        (served(FIRST, SECOND, after=((), (0,)), cores=1.0), CHAIN),
    ],
    ids=["one after the other", "side by side", "two instances", "on one core"],
)
def test_the_twin_of_an_ensemble_is_the_server_that_was_swept(
    server: ServerModel, steps: tuple[tuple[str, str, str], ...]
) -> None:
    """Three users, and independent arrivals at 70 % of what it serves at most."""
    swept = sweep(server, steps)
    twin = build_twin(swept)
    assert isinstance(twin, ServerModel)
    most = max(point.throughput for point in swept.points)
    for load in (ClosedLoop(3), PoissonRate(0.7 * most)):
        simulated, measured = (reached(simulate(each, load, seconds=10)) for each in (twin, server))
        assert list_misses(simulated, measured) == ()


SWEPT = sweep(served(FIRST, SECOND, after=((), (0,))), CHAIN)


def test_a_member_that_is_not_known_leaves_no_twin() -> None:
    """Reports that were changed may lack one."""
    first, _ = SWEPT.target.members
    target = SWEPT.target.model_copy(update={"members": (first,)})
    assert build_twin(SWEPT.model_copy(update={"target": target})) == "its configuration is not known"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"sequence_batching": {}}, "sequence batching is not simulated (second)"),
        ({"model_transaction_policy": {"decoupled": True}}, "decoupled models are not simulated (second)"),
    ],
)
def test_a_member_that_is_not_simulated_is_named(config: dict[str, object], reason: str) -> None:
    """What the twin cannot do of one member, it cannot do of the ensemble."""
    first, second = SWEPT.target.members
    odd = second.model_copy(update={"scheduling": {"name": "second", **config}})
    target = SWEPT.target.model_copy(update={"members": (first, odd)})
    assert build_twin(SWEPT.model_copy(update={"target": target})) == reason


def test_a_member_without_the_servers_account_is_named() -> None:
    """As where it was unloaded meanwhile."""
    points = tuple(each.model_copy(update={"server": each.server[:2]}) for each in SWEPT.points)
    found = build_twin(SWEPT.model_copy(update={"points": points}))
    assert isinstance(found, str)
    assert found.startswith("the report lacks")
    assert found.endswith("(second)")


def test_what_went_on_more_slowly_beside_others_is_no_reason_where_the_twin_has_it_too() -> None:
    """On one core executions take longer than alone, in the twin as on the server."""
    swept = sweep(served(FIRST, SECOND, after=((), (0,)), cores=1.0), CHAIN)
    twin = build_twin(swept)
    assert isinstance(twin, ServerModel)
    for point in swept.points[:3]:
        found = simulate(twin, ClosedLoop(point.load.concurrency or 0), seconds=10)
        assert not any("executions" in reason for reason in explain_load(twin, point, found))
