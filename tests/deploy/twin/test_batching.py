"""Batches on time lines that were worked by hand, by the rules of Triton's dynamic batcher."""

from __future__ import annotations

import numpy as np
import pytest

from serve_deploy.twin import (
    Batching,
    ClosedLoop,
    QueuePolicy,
    Replay,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Simulated,
    Stream,
    simulate,
)

MS = 1e-3
# 10 ms, and 1 ms for each row.
SERVICE = ServiceTimes.linear(10 * MS, 1 * MS, 8)


def serve(at_ms: list[float], batching: Batching | None, rows: int = 1, **settings: object) -> Simulated:
    settings = {"max_batch_size": 8, **settings}
    model = ServedModel(name="m", service=SERVICE, batching=batching, **settings)
    load = Replay(tuple(each * MS for each in at_ms), "by hand")
    stream = Stream(load=load, model="m", rows=rows)
    return simulate(ServerModel(models=(model,)), [stream], requests=len(at_ms))


def ends(found: Simulated) -> list[float]:
    """When each request ended, in ms, ascending."""
    return [round(float(each) / MS, 3) for each in found.stream.presence.went]


def test_without_dynamic_batching_each_request_is_executed_alone() -> None:
    """Three at once: 11 ms each, in their order."""
    assert ends(serve([0, 0, 0], None)) == [11, 22, 33]


def test_what_waits_is_taken_when_the_instance_is_free() -> None:
    """The first goes alone (to 11 ms); the three that came since go together, to 11 + 13 ms."""
    found = serve([0, 1, 2, 10], Batching())
    assert ends(found) == [11, 24, 24, 24]
    assert found.model.batch_sizes == {1: 1, 3: 1}


def test_no_batch_is_larger_than_the_largest() -> None:
    """Eleven wait for the first: eight of them go at 11 ms (to 29), the other three at 29 ms (to 42)."""
    found = serve([0] + [1] * 11, Batching())
    assert ends(found) == [11] + [29] * 8 + [42] * 3


def test_rows_count_and_not_requests() -> None:
    """Requests of three rows: two fit in eight. 13 ms alone, then 16 ms for six rows, then 13 ms."""
    found = serve([0, 1, 1, 1], Batching(), rows=3)
    assert ends(found) == [13, 29, 29, 42]
    assert found.model.batch_sizes == {3: 2, 6: 1}


def test_an_idle_instance_waits_for_the_delay() -> None:
    """Two within 5 ms of the first: all go at 5 ms, to 5 + 12 ms."""
    assert ends(serve([0, 3], Batching(max_queue_delay_seconds=5 * MS))) == [17, 17]


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    """The eighth comes at 3 ms: all go then, to 3 + 18 ms."""
    assert ends(serve([0, 0, 0, 1, 1, 2, 2, 3], Batching(max_queue_delay_seconds=5 * MS))) == [21] * 8


def test_a_preferred_size_does_not_wait_for_the_delay() -> None:
    """Four are preferred: with the fourth, at 2 ms, they go. The fifth waits until 3 + 50 ms, although all is idle."""
    batching = Batching(max_queue_delay_seconds=50 * MS, preferred_sizes=(4,))
    assert ends(serve([0, 1, 1, 2, 3], batching)) == [16, 16, 16, 16, 64]


def test_preferred_sizes_close_batches_that_wait_for_an_instance() -> None:
    """Without a delay, two that wait make a preferred batch and are closed; so are the next two, ahead of the third."""
    found = serve([0, 1, 2, 3, 4, 5, 6], Batching(preferred_sizes=(2, 8)))
    assert found.model.batch_sizes == {1: 1, 2: 3}
    assert ends(found) == [11, 23, 23, 35, 35, 47, 47]


def test_only_so_many_batches_are_formed_ahead() -> None:
    """Behind the first are a closed batch of two and an open one of one, and the rest has to wait.

    At 11 ms the first of these starts, and the other grows to four, the next preferred size; two are left for a third.
    """
    found = serve([0, 1, 2, 3, 4, 5, 6, 7, 8], Batching(preferred_sizes=(2, 4)))
    assert found.model.batch_sizes == {1: 1, 2: 2, 4: 1}
    assert ends(found) == [11, 23, 23, 37, 37, 37, 37, 49, 49]


def test_a_batch_that_waits_for_an_instance_does_not_grow_once_its_delay_has_passed() -> None:
    """Two are a batch at 6 ms. The one of 8 ms does not wake the batcher, and is a batch of its own at 18 ms."""
    found = serve([0] * 8 + [1, 1, 8], Batching(max_queue_delay_seconds=5 * MS))
    assert ends(found) == [18] * 8 + [30] * 2 + [41]


def test_free_dimensions_wake_the_batcher_on_every_arrival() -> None:
    """Then the one of 8 ms joins the batch of two, which starts at 18 ms."""
    found = serve([0] * 8 + [1, 1, 8], Batching(max_queue_delay_seconds=5 * MS, variable_shapes=True))
    assert ends(found) == [18] * 8 + [31] * 3


def test_batches_whose_delay_has_passed_are_merged_before_they_start() -> None:
    """Five are closed beyond the preferred four; the tenth is a batch at 7 ms. At 14 ms the six start together."""
    batching = Batching(max_queue_delay_seconds=5 * MS, preferred_sizes=(4,), variable_shapes=True)
    assert ends(serve([0] * 4 + [1] * 5 + [2], batching)) == [14] * 4 + [30] * 6


def test_a_higher_priority_overtakes() -> None:
    """All wait for the first; priority 1 goes before priority 2, which came earlier."""
    model = ServedModel(
        name="m", service=SERVICE, max_batch_size=1, batching=Batching(), priority_levels=2, default_priority=2
    )
    streams = [
        Stream(load=Replay((0.0, MS, MS), "low"), model="m"),
        Stream(load=Replay((2 * MS,), "high"), model="m", priority=1),
    ]
    low, high = simulate(ServerModel(models=(model,)), streams, requests=3).streams
    assert high.response.seconds == pytest.approx([20 * MS])
    assert low.response.seconds == pytest.approx([11 * MS, 32 * MS, 43 * MS])


def test_requests_that_expire_are_rejected() -> None:
    """After 15 ms in the queue: the second starts at 11 ms, the third would at 22 ms."""
    policy = QueuePolicy(timeout_seconds=15 * MS)
    found = serve([0, 1, 1], Batching(), max_batch_size=1, policy=policy)
    assert (found.stream.succeeded, found.stream.rejected, found.model.rejected) == (2, 1, 1)
    assert ends(found) == [11, 22, 22]


def test_requests_that_expire_are_put_off() -> None:
    """With the action delay the third, which has expired, is executed after the fourth, which has not."""
    policy = QueuePolicy(timeout_seconds=15 * MS, timeout_action="delay")
    found = serve([0, 1, 1, 20], Batching(), max_batch_size=1, policy=policy)
    assert found.stream.rejected == 0
    assert found.stream.response.seconds == pytest.approx(np.array([11, 13, 21, 43]) * MS)


def test_a_full_queue_rejects() -> None:
    """Two may wait behind the one that is executed."""
    found = serve([0, 1, 2, 3, 4], Batching(), max_batch_size=1, policy=QueuePolicy(max_queue_size=2))
    assert (found.stream.succeeded, found.stream.rejected) == (3, 2)
    assert ends(found) == [3, 4, 11, 22, 33]


def test_a_user_who_is_refused_does_not_ask_again_without_end() -> None:
    """Where nothing passes outside of the model, time goes on nevertheless."""
    model = ServedModel(
        name="m", service=SERVICE, max_batch_size=8, batching=Batching(), policy=QueuePolicy(max_queue_size=2)
    )
    found = simulate(ServerModel(models=(model,)), ClosedLoop(16), seconds=0.2, requests=10_000)
    assert found.stream.rejected > 1000
    assert found.stream.sent < 10_000


def test_expired_requests_are_found_late_while_no_instance_is_idle() -> None:
    """One that expires after 0.1 s is rejected at 1 s: Triton's batcher sleeps for 0.5 s, and looks 0.5 s later."""
    model = ServedModel(
        name="m", service=ServiceTimes.by_batch({1: 1.2}), batching=Batching(), policy=QueuePolicy(timeout_seconds=0.1)
    )
    load = Replay((0.0, 0.0), "by hand")
    found = simulate(ServerModel(models=(model,)), load, requests=2)
    assert found.stream.presence.went == pytest.approx([1.0, 1.2])


def test_what_comes_while_an_instance_wakes_joins() -> None:
    """It takes 2 ms to start: the one of 1 ms joins, to 2 + 12 ms; the one of 3.5 ms goes next, at once.

    Without dynamic batching two instances wake together.
    """
    assert ends(serve([0, 1, 3.5], Batching(), dispatch_seconds=2 * MS)) == [14, 14, 25]
    assert ends(serve([0, 1], None, dispatch_seconds=2 * MS, instances=2)) == [13, 13]


def test_what_comes_once_the_batch_is_handed_over_does_not_join() -> None:
    """Of the 2 ms half is the batcher's: one of 1.5 ms finds the batch gone, which runs to 13 ms, and goes next."""
    assert ends(serve([0, 1.5], Batching(), dispatch_seconds=2 * MS)) == [13, 24]


def test_a_batch_of_a_preferred_size_is_closed_while_its_instance_wakes() -> None:
    """One alone is preferred: it goes at 2 ms, to 13 ms, and the next one then."""
    found = serve([0, 1], Batching(preferred_sizes=(1, 8)), dispatch_seconds=2 * MS)
    assert ends(found) == [13, 24]
