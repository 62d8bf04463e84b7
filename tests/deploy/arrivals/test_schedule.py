"""Schedules: the arrivals asked for, whole, however many workers share them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.arrivals.schedule import Schedule, split_evenly
from serve_deploy.arrivals.shapes import ConstantRate, OpenLoop, PoissonRate, Ramp, Replay

RATES = st.floats(1, 20_000)
SHAPES: st.SearchStrategy[OpenLoop] = st.one_of(
    st.builds(ConstantRate, RATES),
    st.builds(PoissonRate, RATES),
    st.builds(Ramp, st.floats(0, 5000), st.floats(1, 5000)),
    st.lists(st.floats(0, 10), min_size=1).map(lambda times: Replay(tuple(sorted(times)), "a recording")),
)


def offsets(shape: OpenLoop, seconds: float, **share: int) -> np.ndarray:
    return np.concatenate([np.empty(0), *Schedule(shape, seconds, **share)])


@given(SHAPES, st.floats(0.1, 5), st.integers(1, 5))
def test_workers_share_out_exactly_the_whole_schedule(shape: OpenLoop, seconds: float, workers: int) -> None:
    """The workers' shares, put together, are the schedule of one: nothing lost, moved or sent twice."""
    whole = offsets(shape, seconds)
    shares = [offsets(shape, seconds, worker=worker, workers=workers) for worker in range(workers)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), whole)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(SHAPES, st.floats(0.1, 5), st.integers(0, 50), st.integers(1, 3))
def test_schedule_stays_inside_its_period_and_quota(
    shape: OpenLoop, seconds: float, requests: int, workers: int
) -> None:
    """Sends ascend, none is due at or after the end, and there are never more than asked for."""
    whole = offsets(shape, seconds)
    assert np.all(np.diff(whole) >= 0)
    assert np.all((whole >= 0) & (whole < seconds))
    limited = [offsets(shape, seconds, requests=requests, worker=n, workers=workers) for n in range(workers)]
    assert sum(map(len, limited)) == min(requests, len(whole))


def test_constant_rate_is_evenly_spaced() -> None:
    """Two hundred requests a second are 5 ms apart, without drift."""
    due = offsets(ConstantRate(200), 100)
    assert len(due) == 20_000
    np.testing.assert_allclose(due, np.arange(20_000) * 0.005, rtol=0, atol=1e-9)


def test_poisson_gaps_are_exponential() -> None:
    """Twenty thousand seeded gaps pass a Kolmogorov-Smirnov test against the exponential distribution at 1 %."""
    rate = 500.0
    gaps = np.sort(np.diff(offsets(PoissonRate(rate), 40, seed=7)))
    theory = 1 - np.exp(-rate * gaps)
    ranks = np.arange(1, len(gaps) + 1) / len(gaps)
    distance = max(np.max(ranks - theory), np.max(theory - ranks + 1 / len(gaps)))
    assert distance < 1.63 / np.sqrt(len(gaps))


def test_poisson_arrivals_of_one_worker_are_independent_of_chunking() -> None:
    """A long schedule continues where a short one ended."""
    short, long = offsets(PoissonRate(5000), 1), offsets(PoissonRate(5000), 4)
    np.testing.assert_array_equal(long[: len(short)], short)


def test_ramp_reaches_its_last_rate() -> None:
    """From 100/s to 1000/s in 10 s: 5500 requests, 10 ms apart at first and 1 ms at the end."""
    due = offsets(Ramp(100, 1000), 10)
    assert len(due) == 5500
    assert due[1] - due[0] == pytest.approx(0.01, rel=0.01)
    assert due[-1] - due[-2] == pytest.approx(0.001, rel=0.01)


@given(st.integers(0, 10_000), st.integers(1, 16))
def test_shares_add_up(total: int, workers: int) -> None:
    """A quota is shared out whole, and evenly."""
    shares = [split_evenly(total, workers, worker) for worker in range(workers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@given(st.one_of(st.builds(ConstantRate, RATES), st.builds(Ramp, st.floats(0, 5000), st.floats(1, 5000))),
       st.floats(0.1, 5), st.floats(0, 1), st.integers(1, 4))  # fmt: skip
def test_what_is_skipped_and_what_is_left_make_the_whole(
    shape: OpenLoop, seconds: float, share: float, workers: int
) -> None:
    """Skipping counts just the requests that were due before then, and the schedule goes on behind them."""
    until = share * seconds
    skipped, left = 0, []
    for worker in range(workers):
        schedule = Schedule(shape, seconds, worker=worker, workers=workers)
        skipped += schedule.skip(until)
        left += list(schedule)
    whole, rest = offsets(shape, seconds), np.sort(np.concatenate([np.empty(0), *left]))
    assert abs(skipped - np.count_nonzero(whole < until)) <= 1  # where the two roundings differ
    assert skipped + len(rest) == pytest.approx(len(whole), abs=1)
    np.testing.assert_array_equal(rest, whole[len(whole) - len(rest) :])


def test_skipping_costs_nothing_at_any_rate() -> None:
    """A billion requests a second for a day are counted without making them."""
    day = 86_400.0
    assert Schedule(ConstantRate(1e9), day).skip(day) == 86_400 * 10**9
    assert Schedule(PoissonRate(1e9), day).skip(day) == pytest.approx(86_400e9, rel=1e-4)


def test_skipping_keeps_to_the_quota() -> None:
    """No more are skipped than there were to be, and none is left."""
    schedule = Schedule(ConstantRate(1000), 10, requests=50)
    assert schedule.skip(1) == 50
    assert offsets_left(schedule) == 0


def offsets_left(schedule: Schedule) -> int:
    return sum(map(len, schedule))
