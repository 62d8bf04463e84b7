"""Where the twin was off, the result says so, and why."""

from __future__ import annotations

from dataclasses import replace

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.reports.point import BatchStatistics
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate
from serve_deploy.tuning.measured import Measured, MixedPoint, read_executions
from serve_deploy.tuning.prediction.service import Service
from serve_deploy.tuning.prediction.twins import PartTwin, Twins
from serve_deploy.tuning.race.accuracy import explain_misses
from serve_deploy.tuning.race.racing import Contestant
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.twin import Outside, ServiceTimes, Times

CANDIDATE = Candidate.of({BATCH: 8, DELAY: 0, PREFERRED: None, INSTANCES: 1})
USERS = 16


def _twins(slower: float = 1.0) -> Twins:
    """The twin of a model that takes 10 ms + 0.5 ms a row, or so many times as long."""
    times = ServiceTimes.linear(0.010 * slower, 0.0005 * slower, 8)
    service = Service(times, Outside(times=Times.constant(0.0002)), 8, (1,), ())
    return Twins((PartTwin("m", "", {(): service}),), {"m": 1.0}, Goal("throughput"), 64)


def _raced(truth: Twins, slower: float = 1.0, **changes: object) -> Contestant:
    """What a race would measure of it, with executions of full batches that take 14 ms, or so many times as long."""
    point = truth.simulate(CANDIDATE, truth.server(CANDIDATE), ClosedLoop(USERS)).model_copy(update=changes)
    (own,) = point.server
    batches = (BatchStatistics(batch_size=8, executions=own.executions, compute_us=14_000 * slower),)
    executions = read_executions([own.model_copy(update={"batches": batches})], {"m": ""})
    prediction = truth.predict(CANDIDATE)
    return Contestant(CANDIDATE, prediction, USERS, [Measured(point=point, executions=executions)])


def _notes(contestant: Contestant) -> list[str]:
    return list(explain_misses([contestant], _twins(), CANDIDATE))


def test_what_was_right_needs_no_word() -> None:
    """Nor what was never raced."""
    raced = _raced(_twins())
    assert _notes(raced) == _notes(replace(raced, found=[])) == []


def test_slower_executions_are_the_reason() -> None:
    """Those of the race took half as long again, so that everything was slower than the twin had said."""
    (note,) = _notes(_raced(_twins(1.5), 1.5))
    assert note.startswith("for current configuration the twin was off (throughput +")
    assert note.endswith("executions took 1.50 times as long as when they were measured")


def test_the_load_generator_is_named_where_it_was_the_limit() -> None:
    """It sent less than it should have."""
    (note,) = _notes(_raced(_twins(1.5), client_bound=True))
    assert note.endswith("): the load generator was the limit")


def test_what_nothing_explains_lies_outside_of_the_models() -> None:
    """Executions and batches were as expected, and requests took longer all the same."""
    point: MixedPoint = _raced(_twins()).point
    slow = point.response.model_copy(update={"p50_us": 2 * point.response.p50_us})
    (note,) = _notes(_raced(_twins(), response=slow))
    assert note == (
        "for current configuration the twin was off (p50 −50.0 %): "
        "the models ran as measured; the time outside of them differed"
    )
