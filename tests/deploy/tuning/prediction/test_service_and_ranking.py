"""From measurements to predictions: what the twin is fed with, and what it then finds best."""

from __future__ import annotations

import pytest

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.reports.gates import parse_gate
from serve_deploy.reports.point import BatchStatistics
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate
from serve_deploy.tuning.measured import Executions, Measured, read_executions
from serve_deploy.tuning.prediction.ranking import Space, choose_finalists, rank
from serve_deploy.tuning.prediction.service import Service, fit_service
from serve_deploy.tuning.prediction.twins import PartTwin, Twins, simulated_point
from serve_deploy.tuning.task.objective import Goal, find_concurrency
from serve_deploy.twin import Batching, Outside, ServedModel, ServerModel, ServiceTimes, Times, simulate

BASELINE = Candidate.of({BATCH: 4, DELAY: 0, PREFERRED: None, INSTANCES: 1})
LARGEST = 32


def _measure(base: float, row: float, users: int, instances: int, *, locked: bool = False, rows: int = 1) -> Measured:
    """What a server would show whose executions take base + row × rows seconds, and as often again with a lock."""
    times = ServiceTimes.linear(base * (instances if locked else 1), row * (instances if locked else 1), LARGEST)
    model = ServedModel(name="m", service=times, max_batch_size=LARGEST, instances=instances, batching=Batching())
    outside = Outside(times=Times.constant(0.0002))
    result = simulate(ServerModel(models=(model,), outside=outside), ClosedLoop(users), requests=max(1000, 200 * users))
    point = simulated_point(result, ClosedLoop(users), None)
    point = point.model_copy(update={"load": point.load.model_copy(update={"batch_size": rows})})
    sizes = result.model.batch_sizes.items()
    return Measured(
        point=point,
        executions=tuple(
            Executions(batch_size=size, count=count, mean_seconds=times.at(size).mean) for size, count in sizes
        ),
    )


def _service(base: float, row: float, *, locked: bool = False, levels: tuple[int, ...] = (1, 2)) -> Service:
    measured = {
        count: [_measure(base, row, users, count, locked=locked) for users in (1, 8, 32, 128) if users >= count]
        for count in levels
    }
    return fit_service(measured, LARGEST)


def _twins(base: float, row: float, *, locked: bool = False, slo: tuple[str, ...] = ()) -> Twins:
    goal = Goal("throughput", tuple(map(parse_gate, slo)))
    return Twins((PartTwin("m", "", {(): _service(base, row, locked=locked)}),), {"m": 1.0}, goal, 64)


SPACE = Space(BASELINE, (4, 16, 32), {(): (1, 2)}, 250)


def test_service_times_are_those_that_were_measured() -> None:
    """Within a per cent at every size, for one instance and for two."""
    service = _service(0.010, 0.001)
    for size in (1, 2, 4, 8, 16, 32):
        for busy in (1, 2):
            assert service.times.at(size, busy).mean == pytest.approx(0.010 + 0.001 * size, rel=0.01)


def test_a_file_without_dynamic_batching_has_none_on_the_twin() -> None:
    """Eight users of 10 ms and 1 ms a row: one after the other 91/s, and in batches far more."""
    twins = _twins(0.010, 0.001)
    alone, batched = (Candidate.of({**dict(BASELINE.values), BATCH: 8, DELAY: delay}) for delay in (None, 0))
    one, many = (twins.simulate(each, twins.server(each), ClosedLoop(8)).throughput for each in (alone, batched))
    assert one == pytest.approx(91, rel=0.05)
    assert many > 2 * one


def _outside_seconds(service: Service) -> float:
    return service.outside.times.mean + service.outside.latency_seconds


def test_time_outside_the_model_is_found() -> None:
    """What a lone user waits for beyond the execution."""
    assert _outside_seconds(_service(0.010, 0.001)) == pytest.approx(0.0002, rel=0.05)


def _lone(mean_us: float, p50_us: float, queue_us: float) -> Measured:
    """One user of a model whose executions take 10 ms."""
    measured = _measure(0.010, 0.0, 1, 1)
    point = measured.point
    response = point.response.model_copy(update={"mean_us": mean_us, "p50_us": p50_us})
    server = (point.server[0].model_copy(update={"queue_us": queue_us}),)
    return measured.model_copy(update={"point": point.model_copy(update={"response": response, "server": server})})


def test_what_an_idle_instance_takes_to_begin_is_found() -> None:
    """A lone request's time in Triton's queue, which the twin gives to every request that need not wait for others."""
    service = fit_service({1: [_lone(10_400, 10_400, 150)]}, LARGEST)
    assert service.dispatch_seconds == pytest.approx(150e-6)
    assert _outside_seconds(service) == pytest.approx(250e-6)
    twins = Twins((PartTwin("m", "", {(): service}),), {"m": 1.0}, Goal("throughput"), 1)
    assert [model.dispatch_seconds for model in twins.server(BASELINE).models] == [service.dispatch_seconds]


def test_a_stall_is_not_what_a_request_costs() -> None:
    """A few requests that took as long as hundreds, because the machine did something else, in the queue or outside."""
    service = fit_service({1: [_lone(40_000, 10_400, 20_000)]}, LARGEST)
    assert service.dispatch_seconds + _outside_seconds(service) == pytest.approx(400e-6, rel=0.01)


def test_batching_pays_where_a_base_is_shared() -> None:
    """10 ms + 1 ms a row: both instances, and batches as large as the users can fill."""
    best = rank(_twins(0.010, 0.001), SPACE)[0]
    assert (best.candidate[INSTANCES], best.candidate[BATCH] >= 16) == (2, True)
    assert best.point.throughput == pytest.approx(2 * 32 / 0.042, rel=0.05)


def test_a_gate_limits_the_batch() -> None:
    """A p99 below 30 ms leaves no time for full batches of 32, and what is found holds it with a margin."""
    twins = _twins(0.010, 0.001, slo=("p99<30ms",))
    best = rank(twins, SPACE)[0]
    assert best.meets
    assert best.point.response.p99_us < 30_000
    assert best.point.throughput == pytest.approx(2 * 19 / 0.0292, rel=0.15)


def test_nothing_is_gained_where_batches_do_not_pay() -> None:
    """Executions that wait for one lock and take as long as their rows: no candidate is 3 % better."""
    twins = _twins(0.0, 0.002, locked=True)
    ranked = rank(twins, SPACE)
    assert ranked[0].score < 1.03 * twins.predict(BASELINE).score


def test_of_equals_the_least_change_comes_first() -> None:
    """Where everything is as good, the file's own configuration is."""
    assert rank(_twins(0.0, 0.002, locked=True), SPACE)[0].candidate == BASELINE


def test_finalists_differ_in_more_than_their_delay() -> None:
    """Batch size, instances or setting."""
    finalists = choose_finalists(rank(_twins(0.010, 0.001), SPACE), BASELINE, 3)
    kinds = {(each.candidate[BATCH], each.candidate[INSTANCES]) for each in finalists}
    assert len(kinds) == len(finalists) == 3


def test_executions_are_those_of_the_tuned_models() -> None:
    """By their names in the paths; the account of an ensemble that runs them says nothing of instances."""
    (own,) = _measure(0.01, 0.0, 1, 1).point.server
    batches = (BatchStatistics(batch_size=4, executions=20, compute_us=3000.0),)
    statistics = [own.model_copy(update={"model": name, "batches": batches}) for name in ("inner", "whole")]
    (found,) = read_executions(statistics, {"inner": "inner"})
    assert (found.model, found.batch_size, found.count, found.mean_seconds) == ("inner", 4, 20, 0.003)


def test_users_are_added_as_long_as_it_pays() -> None:
    """The search finds the number at which a server of two instances is full, and counts few measurements."""
    tried: list[int] = []

    def measure(users: int):
        tried.append(users)
        model = ServedModel(name="m", service=ServiceTimes.linear(0.01, 0.0, 1), instances=2)
        return simulated_point(
            simulate(ServerModel(models=(model,)), ClosedLoop(users), requests=500), ClosedLoop(users), None
        )

    users, point = find_concurrency(measure, Goal("throughput", (parse_gate("p99<25ms"),)), start=16, limit=64)
    assert (users, round(point.throughput)) == (2, 200) or users in (3, 4)
    assert len(tried) <= 6
