"""The twin against queues whose answers are known: D/D/1, M/D/1, M/M/c, closed loops, and Little's law."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.twin import (
    Batching,
    ClosedLoop,
    ConstantRate,
    Ensemble,
    Outside,
    PoissonRate,
    Replay,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Simulated,
    Step,
    Stream,
    Times,
    simulate,
)

MS = 1e-3


def server(model: ServedModel, outside: Outside | None = None) -> ServerModel:
    return ServerModel(models=(model,), outside=outside or Outside())


def constant(seconds: float, **settings: int) -> ServedModel:
    return ServedModel(name="m", service=ServiceTimes.by_batch({1: seconds}), **settings)


def test_even_arrivals_below_capacity_never_wait() -> None:
    """D/D/1 at 80 %: every request takes its service time, and the instance is busy for 80 % of the time."""
    found = simulate(server(constant(8 * MS)), ConstantRate(100), seconds=10)
    assert found.stream.response.percentile(100) == pytest.approx(8 * MS)
    assert found.model.queue.percentile(100) == pytest.approx(0)
    assert found.model.utilisation == pytest.approx(0.8)
    assert found.stream.throughput == pytest.approx(100, rel=0.001)


def test_even_arrivals_above_capacity_wait_ever_longer() -> None:
    """D/D/1 at 125 %: request i comes at 8i ms, starts at 10i ms, and so waits 2i ms."""
    found = simulate(server(constant(10 * MS)), ConstantRate(125), requests=101)
    assert found.model.queue.seconds == pytest.approx(np.arange(101) * 2 * MS)
    assert found.end_seconds == pytest.approx(1.01)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_poisson_arrivals_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) service times."""
    found = simulate(server(constant(2 * MS)), PoissonRate(load / (2 * MS)), requests=200_000)
    assert found.model.queue.mean == pytest.approx(2 * MS * load / (2 * (1 - load)), rel=0.05)
    assert found.model.utilisation == pytest.approx(load, rel=0.01)


def erlang_c(servers: int, load: float) -> float:
    """The probability that a request of an M/M/c queue waits."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (2, 0.8), (4, 0.9)])
def test_exponential_service_waits_as_erlang_says(servers: int, load: float) -> None:
    """M/M/c: the mean wait is Erlang's C / (c·µ - λ), and the share that waits is Erlang's C."""
    times = Times.of(np.random.default_rng(1).exponential(5 * MS, 200_000))
    model = ServedModel(name="m", service=ServiceTimes.by_batch({1: times}), instances=servers)
    found = simulate(server(model), PoissonRate(servers * load / (5 * MS)), requests=200_000, seed=3)
    waits = erlang_c(servers, load)
    assert found.model.queue.mean == pytest.approx(waits * 5 * MS / servers / (1 - load), rel=0.08)
    assert np.mean(found.model.queue.seconds > 0) == pytest.approx(waits, rel=0.03)


def test_users_of_a_closed_loop_share_the_server() -> None:
    """N users, S of service, Z outside: throughput is N / (S + Z) until the server is full, then 1/S."""
    outside = Outside(times=Times.constant(30 * MS))
    rates = [simulate(server(constant(10 * MS), outside), ClosedLoop(n), seconds=100).stream for n in (1, 2, 4, 8)]
    assert [each.throughput for each in rates] == pytest.approx([25, 50, 100, 100], rel=0.01)
    assert rates[3].response.percentile(50) == pytest.approx(80 * MS)


def test_few_workers_outside_are_a_queue_of_their_own() -> None:
    """One worker of 20 ms outside a model of 10 ms: 50 a second, however many users ask, and however far they are."""
    outside = Outside(times=Times.constant(20 * MS), workers=1, latency_seconds=15 * MS)
    found = simulate(server(constant(10 * MS), outside), ClosedLoop(8), seconds=100)
    assert found.stream.throughput == pytest.approx(50, rel=0.01)
    assert found.model.mean_in_flight == pytest.approx(0.5, rel=0.01)


def test_answers_of_a_batch_come_one_after_another() -> None:
    """Four of an open loop join a batch of 10 ms; one worker passes an answer every millisecond."""
    times = ServiceTimes.linear(10 * MS, 0, 4)
    model = ServedModel(name="m", service=times, max_batch_size=4, batching=Batching(), dispatch_seconds=2 * MS)
    outside = Outside(times=Times.constant(1 * MS), workers=1, latency_seconds=5 * MS)
    found = simulate(server(model, outside), Replay((0.0,) * 4, "by hand"), requests=4)
    assert found.stream.response.seconds == pytest.approx([18 * MS, 19 * MS, 20 * MS, 21 * MS])


def test_streams_take_turns_at_the_workers_outside() -> None:
    """Each of two streams at 50/s waits no longer for one worker of 0.5 ms than the other."""
    outside = Outside(times=Times.constant(0.5 * MS), workers=1)
    streams = [Stream(load=PoissonRate(50), model="m") for _ in range(2)]
    one, other = simulate(server(constant(2 * MS), outside), streams, seconds=20).streams
    assert one.response.mean == pytest.approx(other.response.mean, rel=0.1)
    assert other.throughput == pytest.approx(50, rel=0.15)


def test_what_is_in_flight_obeys_littles_law() -> None:
    """Rate times time in the server is what is in the server, and likewise for the queue and for the whole way."""
    model = ServedModel(name="m", service=ServiceTimes.linear(2 * MS, 1 * MS, 8), max_batch_size=8, batching=Batching())
    found = simulate(server(model, Outside(times=Times.constant(MS))), PoissonRate(500), seconds=300)
    assert found.stream.mean_in_flight == pytest.approx(500 * found.stream.response.mean, rel=0.01)
    assert found.model.mean_waiting == pytest.approx(500 * found.model.queue.mean, rel=0.01)
    assert found.model.mean_in_flight == pytest.approx(500 * (found.stream.response.mean - MS), rel=0.01)


def test_instances_that_hold_one_lock_do_not_help() -> None:
    """Two instances behind a lock serve as much as one; two free ones twice as much."""
    locked = ServedModel(name="m", service=ServiceTimes.by_batch({1: 10 * MS}), instances=2, exclusive=True)
    assert simulate(server(locked), ClosedLoop(4), seconds=50).stream.throughput == pytest.approx(100, rel=0.01)
    free = constant(10 * MS, instances=2)
    assert simulate(server(free), ClosedLoop(4), seconds=50).stream.throughput == pytest.approx(200, rel=0.01)


def test_executions_that_slow_each_other_are_stretched() -> None:
    """Two share a core: A starts at 0, B at 5 ms. A has half left, at half the pace: it ends at 15 ms, B at 20 ms."""
    service = ServiceTimes({(1, 1): Times.constant(10 * MS), (1, 2): Times.constant(20 * MS)})
    model = ServedModel(name="m", service=service, instances=2)
    found = simulate(server(model), ConstantRate(200), requests=2)
    assert found.stream.response.seconds == pytest.approx([15 * MS, 15 * MS])
    assert found.end_seconds == pytest.approx(20 * MS)


def test_models_share_the_cores_of_a_server() -> None:
    """Two models that use a core each on one core are half as fast when both are busy."""
    from serve_deploy.twin import Stream

    models = tuple(
        ServedModel(name=name, service=ServiceTimes.by_batch({1: 10 * MS}), cores_used=1) for name in ("a", "b")
    )
    streams = [Stream(load=ClosedLoop(1), model=name) for name in ("a", "b")]
    for cores, rate in ((1, 50), (2, 100)):
        found = simulate(ServerModel(models=models, cores=cores), streams, seconds=50)
        assert [each.throughput for each in found.streams] == pytest.approx([rate, rate], rel=0.01)


def ensemble(*steps: Step) -> Simulated:
    models = (constant(10 * MS), ServedModel(name="n", service=ServiceTimes.by_batch({1: 20 * MS})))
    return simulate(ServerModel(models=models, ensembles=(Ensemble("e", steps),)), ConstantRate(10), seconds=5)


def test_an_ensemble_takes_what_its_longest_way_takes() -> None:
    """One after the other 10 + 20 ms, side by side the longer of both."""
    assert ensemble(Step("m"), Step("n", (0,))).stream.response.percentile(100) == pytest.approx(30 * MS)
    assert ensemble(Step("m"), Step("n")).stream.response.percentile(100) == pytest.approx(20 * MS)


def test_a_mix_keeps_its_ratio_whichever_model_is_quicker() -> None:
    """Three of four users' requests go to a model of 40 ms, and one to a model of 1 ms: at one user, 30.25 ms each."""
    models = tuple(
        ServedModel(name=name, service=ServiceTimes.by_batch({1: s})) for name, s in (("a", 0.04), ("b", 0.001))
    )
    stream = Stream(load=ClosedLoop(1), model="both", mix={"a": 3, "b": 1})
    found = simulate(ServerModel(models=models), [stream], requests=400).stream
    assert [(part.model, part.sent) for part in found.parts] == [("a", 300), ("b", 100)]
    assert found.throughput == pytest.approx(1 / 0.03025)
    assert [part.response.percentile(100) for part in found.parts] == pytest.approx([0.04, 0.001])


def test_arrivals_of_a_mix_are_independent_for_each_model() -> None:
    """A quarter of Poisson arrivals, drawn one by one, are Poisson arrivals: Pollaczek and Khinchine's queue."""
    service, rate = 0.01, 50.0
    models = tuple(replace(constant(service), name=name) for name in "ab")
    stream = Stream(load=PoissonRate(4 * rate / 3), model="both", mix={"a": 3, "b": 1})
    found = simulate(ServerModel(models=models), [stream], requests=40_000).stream
    ratio = found.parts[0].sent / found.parts[1].sent
    waiting = rate * service**2 / (2 * (1 - rate * service))
    assert ratio == pytest.approx(3, rel=0.05)
    assert found.parts[0].response.mean == pytest.approx(service + waiting, rel=0.05)


@pytest.mark.parametrize("load", [ClosedLoop(8), PoissonRate(50)])
def test_a_mix_of_one_is_that_model(load: LoadShape) -> None:
    """The same requests at the same times."""
    both = [
        simulate(server(constant(0.01)), [Stream(load=load, model="m", mix=mix)], requests=500).stream
        for mix in ({}, {"m": 2.0})
    ]
    assert both[0].response.seconds.tolist() == both[1].response.seconds.tolist()
