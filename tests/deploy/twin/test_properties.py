"""Whatever the server and the load: nothing is lost, nothing idles while work waits, order is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape, PoissonRate
from serve_deploy.errors import UsageError
from serve_deploy.twin import (
    Batching,
    Ensemble,
    Outside,
    QueuePolicy,
    Ramp,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Step,
    Stream,
    Times,
    simulate,
)
from serve_deploy.twin.batch_rules import INSTANT
from serve_deploy.twin.simulation import Run
from serve_deploy.twin.streams import Span

LARGEST = 8
SPREAD = Times.of([0.002, 0.004, 0.02])
CONTENDED = ServiceTimes(
    {(1, 1): SPREAD, (LARGEST, 1): SPREAD.times(3), (1, 4): SPREAD.times(4), (8, 4): SPREAD.times(9)}
)
BATCHINGS = st.none() | st.builds(
    Batching,
    max_queue_delay_seconds=st.sampled_from([0.0, 0.001, 0.03]),
    preferred_sizes=st.lists(st.integers(1, LARGEST), max_size=3, unique=True).map(lambda sizes: tuple(sorted(sizes))),
    variable_shapes=st.booleans(),
)
POLICIES = st.builds(
    QueuePolicy,
    timeout_seconds=st.sampled_from([0.0, 0.005, 0.1]),
    timeout_action=st.sampled_from(["reject", "delay"]),
    max_queue_size=st.sampled_from([0, 1, 20]),
)


@st.composite
def models(draw: st.DrawFn, policies: st.SearchStrategy[QueuePolicy] = POLICIES) -> ServedModel:
    batching = draw(BATCHINGS)
    return ServedModel(
        name="m",
        service=draw(st.sampled_from([ServiceTimes.linear(0.002, 0.001, LARGEST), CONTENDED])),
        max_batch_size=LARGEST,
        instances=draw(st.integers(1, 4)),
        batching=batching,
        policy=draw(policies) if batching else QueuePolicy(),
        priority_levels=draw(st.sampled_from([0, 3])) if batching else 0,
        exclusive=draw(st.booleans()),
        dispatch_seconds=draw(st.sampled_from([0.0, 0.0005])),
    )


LOADS = st.builds(PoissonRate, st.floats(20, 3000)) | st.builds(ClosedLoop, st.integers(1, 40))
OUTSIDE = st.builds(
    Outside,
    times=st.sampled_from([SPREAD, Times.constant(0)]),
    workers=st.sampled_from([None, 2]),
    latency_seconds=st.sampled_from([0.0, 0.001]),
)


def go(model: ServedModel, load: LoadShape, outside: Outside | None = None, rows: int = 1, priorities: int = 1) -> Run:
    streams = [Stream(load=load, model="m", rows=rows, priority=n) for n in range(priorities)]
    run = Run(ServerModel(models=(model,), outside=outside or Outside()), streams, Span(math.inf, 150), seed=1)
    run.go()
    return run


@settings(deadline=None)
@given(models(), LOADS, OUTSIDE, st.sampled_from([1, 3]))
def test_every_request_ends_once(model: ServedModel, load: LoadShape, outside: Outside, rows: int) -> None:
    """Sent is succeeded plus rejected, each in one batch at most, and none in a batch that is too large."""
    run = go(model, load, outside, rows)
    station, stream = run.stations["m"], run.stream_result(0, 0, math.inf)
    executed = [request for batch in station.instances.batches for request in batch]
    rejected = [request for _, request in station.rejected]
    assert sorted(executed + rejected) == list(range(150))
    assert (stream.sent, stream.succeeded, stream.rejected) == (150, len(executed), len(rejected))
    most = LARGEST if model.batching else rows
    assert all(0 < len(batch) * rows <= most for batch in station.instances.batches)


@settings(deadline=None)
@given(models(), LOADS)
def test_an_instance_executes_one_batch_at_a_time(model: ServedModel, load: LoadShape) -> None:
    """There are never more executions than instances."""
    instances = go(model, load).stations["m"].instances
    starts, ends = np.sort(instances.starts), np.sort(instances.ends)
    at_starts = np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts + INSTANT, side="right")
    assert at_starts.max(initial=0) <= model.instances


@settings(deadline=None)
@given(models(), LOADS)
def test_no_instance_idles_while_a_request_waits(model: ServedModel, load: LoadShape) -> None:
    """Without a delay a request that enters while an instance is idle starts at once; nothing else may hold it up."""
    if model.dispatch_seconds or (model.batching and model.batching.max_queue_delay_seconds):
        return
    run = go(model, load)
    instances, entered = run.stations["m"].instances, run.requests.entered
    began = {
        number: start for batch, start in zip(instances.batches, instances.starts, strict=True) for number in batch
    }
    starts, ends = np.sort(instances.starts), np.sort(instances.ends)
    for number, start in began.items():
        if start > entered[number] + 2 * INSTANT:
            # All the while that it waited, every instance was busy.
            inside = starts[(starts >= entered[number]) & (starts < start - 2 * INSTANT)]
            for moment in [entered[number] + INSTANT, *inside + INSTANT]:
                busy = np.searchsorted(starts, moment, side="right") - np.searchsorted(ends, moment, side="right")
                assert busy == model.instances


@settings(deadline=None)
@given(models(policies=st.just(QueuePolicy())), LOADS, st.integers(1, 3))
def test_order_is_kept_within_a_priority(model: ServedModel, load: LoadShape, priorities: int) -> None:
    """Of two requests of the same priority, the one that came first never starts later."""
    run = go(model, load, priorities=priorities if model.priority_levels else 1)
    instances, requests = run.stations["m"].instances, run.requests
    for priority in range(priorities):
        started = [
            requests.entered[number]
            for batch in instances.batches
            for number in batch
            if requests.priorities.get(number, 0) == priority
        ]
        # Requests without a priority and those of the default one are one queue.
        if priority > 1 or not model.priority_levels:
            assert started == sorted(started)


@settings(deadline=None, max_examples=30)
@given(models(), LOADS, OUTSIDE, st.integers(0, 3))
def test_a_seed_gives_one_result(model: ServedModel, load: LoadShape, outside: Outside, seed: int) -> None:
    """Twice the same simulation is twice the same answer, to the last bit."""
    server = ServerModel(models=(model,), outside=outside)
    first, second = (simulate(server, load, requests=100, seed=seed) for _ in range(2))
    assert first.stream.response.seconds.tolist() == second.stream.response.seconds.tolist()
    assert first.model.batch_sizes == second.model.batch_sizes


@settings(deadline=None, max_examples=30)
@given(st.lists(models(), min_size=2, max_size=3), LOADS)
def test_a_failed_step_fails_its_request(members: list[ServedModel], load: LoadShape) -> None:
    """Of an ensemble's requests each ends once, whatever its members reject."""
    from dataclasses import replace

    named = tuple(replace(model, name=str(index)) for index, model in enumerate(members))
    steps = tuple(Step(model.name, (index - 1,) if index else ()) for index, model in enumerate(named))
    server = ServerModel(models=named, ensembles=(Ensemble("e", steps),))
    found = simulate(server, load, requests=100)
    assert found.stream.sent == 100
    assert found.stream.succeeded + found.stream.rejected == 100
    assert found.stream.rejected == sum(model.rejected for model in found.models)


def test_what_cannot_be_simulated_is_refused() -> None:
    """Batches beyond the measured ones, requests that are too large, a load for which model, no end."""
    model = ServedModel(name="m", service=ServiceTimes.linear(0.01, 0.001, 4), max_batch_size=8, batching=Batching())
    with pytest.raises(UsageError, match="8 rows in a batch: measured from 1 to 4"):
        simulate(ServerModel(models=(model,)), ClosedLoop(20), requests=50)
    with pytest.raises(UsageError, match="9 rows in a request"):
        simulate(ServerModel(models=(model,)), [Stream(load=ClosedLoop(1), model="m", rows=9)], requests=5)
    with pytest.raises(UsageError, match="say which"):
        simulate(ServerModel(models=(model, model)), ClosedLoop(1), requests=5)
    with pytest.raises(UsageError, match="needs seconds or requests"):
        simulate(ServerModel(models=(model,)), ClosedLoop(1))
    with pytest.raises(UsageError, match="a ramp needs seconds"):
        simulate(ServerModel(models=(model,)), Ramp(1, 2), requests=5)
