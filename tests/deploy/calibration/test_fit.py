"""What measured loads say of a server: its execution times, and what a request costs beside them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sweeps import point

from serve_deploy.calibration.accuracy import ModelAtWork, Reached, explain, list_misses
from serve_deploy.calibration.fit import Fitted, fit
from serve_deploy.reports.point import Load, ModelStatistics, Point
from serve_deploy.twin import ServiceTimes

US = 1e-6


@dataclass(frozen=True)
class _Executions:
    batch_size: int
    count: int
    mean_seconds: float


@dataclass(frozen=True)
class _Swept:
    point: Point
    executions: tuple[_Executions, ...]


def swept(users: int, rate: float, executed: dict[int, tuple[int, float]], mean_us: float, queue_us: float) -> _Swept:
    """A load with so many executions of so many µs by batch size."""
    server = ModelStatistics(
        model="m", requests=1, inferences=1, executions=1, failures=0, queue_us=queue_us, compute_input_us=0,
        compute_infer_us=0, compute_output_us=0, average_batch_size=1,
    )  # fmt: skip
    response = point(1, 1, 1).response.model_copy(update={"mean_us": mean_us, "p50_us": mean_us})
    told = point(users, rate, 1.0, server=(server,), response=response)
    return _Swept(told, tuple(_Executions(size, count, us * US) for size, (count, us) in executed.items()))


LONE = swept(1, 2500, {1: (1000, 200)}, 400, 60)


def fitted(*loads: _Swept, largest: int = 8) -> Fitted:
    return fit({1: (LONE, *loads)}, largest)


def test_a_lone_request_says_what_lies_beside_its_execution() -> None:
    """Of 400 µs 200 are the execution's and 60 the queue's; the load generator's 20 µs pass one after another."""
    found = fitted()
    assert found.dispatch_seconds == pytest.approx(60 * US)
    assert found.outside.latency_seconds + found.outside.times.mean == pytest.approx(140 * US)
    assert (found.outside.workers, found.outside.times.mean) == (1, pytest.approx(20 * US))


def test_answers_of_a_batch_come_one_after_another() -> None:
    """Of batches of eight the mean request is 315 µs outside, 175 more than a lone one: 50 µs between answers."""
    found = fitted(swept(16, 14_000, {8: (1000, 480)}, 480 + 380 + 315, 380))
    assert found.outside.times.mean == pytest.approx(50 * US)
    assert found.outside.latency_seconds == pytest.approx(90 * US)


def test_what_an_instance_spends_between_executions_grows_with_the_rows() -> None:
    """Full batches of 480 µs every 560: 10 µs a row, so that one row has 210 µs."""
    found = fitted(swept(16, 8 / (560 * US), {8: (1000, 480)}, 1000, 380))
    assert found.times.at(8).mean == pytest.approx(560 * US)
    assert found.times.at(1).mean == pytest.approx(210 * US)


def test_a_batch_that_was_often_not_full_says_nothing_of_the_time_between() -> None:
    """Instances waited for the clients there."""
    found = fitted(swept(16, 8000, {8: (500, 480), 4: (500, 300)}, 1000, 100))
    assert found.times.at(8).mean == pytest.approx(480 * US)


def test_a_larger_batch_is_never_quicker() -> None:
    """Sizes that fall are taken together, by how often each was seen."""
    found = fitted(swept(8, 8000, {2: (100, 400), 3: (300, 300), 4: (100, 500)}, 1000, 100), largest=4)
    assert [found.times.at(size).mean for size in (2, 3, 4)] == pytest.approx([325 * US, 325 * US, 500 * US])


def test_sizes_that_were_not_seen_lie_on_the_line() -> None:
    """200 µs for one and 600 for five: 800 for seven."""
    found = fitted(swept(6, 8000, {5: (100, 600)}, 1000, 100), largest=7)
    assert found.times.at(7).mean == pytest.approx(800 * US)


def test_several_instances_that_slow_each_other_are_told_apart() -> None:
    """One row takes 200 µs alone and 300 µs with both at work, and so do eight."""
    crowded = swept(32, 16_000, {1: (100, 300), 8: (1000, 900)}, 1000, 100)
    found = fit({2: (LONE, crowded)}, 8)
    assert found.times.at(8, 2).mean / found.times.at(8, 1).mean == pytest.approx(1.5, rel=0.05)


def _reasons(
    measured: Point, slower: float = 1.0, simulated_batch: float = 8.0, p99s: tuple[float, ...] = (), wait_us: float = 0
):
    times = ServiceTimes.linear(0.004, 0.001, 8)
    work = ModelAtWork([_Executions(8, 100, 0.012 * slower)], times, 1, simulated_batch, wait_us=wait_us)
    return explain(measured, [work], p99s, "within the load")


def test_only_what_is_beyond_the_limits_is_a_miss() -> None:
    """10 % of the throughput, 15 % of the p50, 20 % of the p99."""
    assert list_misses(Reached(109, 86, 119), Reached(100, 100, 100)) == ()
    assert list_misses(Reached(89, 116, 79), Reached(100, 100, 100)) == (
        "throughput −11.0 %",
        "p50 +16.0 %",
        "p99 −21.0 %",
    )


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (_reasons(point(16, 600, 30, client_bound=True)), "the load generator was the limit"),
        (_reasons(point(16, 600, 30), slower=1.3), "executions took 1.30 times as long as when they were measured"),
        (_reasons(point(16, 600, 30), simulated_batch=4), "batches had 8.0 rows, and not 4.0"),
        (
            _reasons(point(16, 600, 30), p99s=(12e3, 62e3)),
            "the measured p99 varied from 12.0 ms to 62.0 ms within the load",
        ),
        (
            _reasons(
                point(1, 600, 30).model_copy(
                    update={
                        "load": Load(mode="open", request_rate=600, distribution="poisson"),
                        "client": point(1, 1, 1).client.model_copy(update={"slip_p50_us": 300}),
                    }
                )
            ),
            "the load generator sent 300 µs late, which times include",
        ),
        (
            _reasons(point(16, 600, 30), wait_us=9000),
            "requests waited 9.00 ms, and not 0 µs: executions and mean batches hardly differed",
        ),
        (_reasons(point(16, 600, 30, succeeded=120)), "only 120 requests were measured"),
        (_reasons(point(16, 600, 30)), "the models ran as measured; the time outside of them differed"),
    ],
    ids=["client-bound", "slower", "batches", "unsteady", "late", "waits", "few", "unknown"],
)  # fmt: skip
def test_a_miss_has_its_reason(reasons: tuple[str, ...], said: str) -> None:
    """As far as the measurement tells."""
    assert reasons == (said,)
