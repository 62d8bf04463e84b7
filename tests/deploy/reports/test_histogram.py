"""Histograms: bounded error, exact merging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.reports.histogram import RELATIVE_WIDTH, Histogram

DURATIONS = st.lists(st.floats(0, 5000), min_size=1, max_size=300)


def record(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.record_seconds(np.array(seconds))
    return histogram


@given(DURATIONS, st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_percentile_is_the_ranked_sample_within_a_bucket(seconds: list[float], percent: float) -> None:
    """A percentile differs from the sample of that rank by no more than the rounding and a bucket's width."""
    rank = max(int(np.ceil(len(seconds) * percent / 100 - 1e-9)), 1)
    exact_us = sorted(seconds)[rank - 1] * 1e6
    assert abs(record(seconds).percentile_us(percent) - exact_us) <= 1 + exact_us * RELATIVE_WIDTH


@given(DURATIONS, DURATIONS)
def test_merging_is_recording_together(first: list[float], second: list[float]) -> None:
    """Merged histograms equal the histogram of the pooled samples, bucket by bucket."""
    merged = record(first)
    merged.merge(record(second))
    pooled = record(first + second)
    assert merged.pairs() == pooled.pairs()
    assert (merged.min_us, merged.max_us) == (pooled.min_us, pooled.max_us)


@given(DURATIONS)
def test_pairs_rebuild_the_histogram(seconds: list[float]) -> None:
    """What a report saves of a histogram is all of it."""
    original = record(seconds)
    rebuilt = Histogram.from_pairs(
        original.pairs(), mean_us=original.mean_us, min_us=original.min_us, max_us=original.max_us
    )
    assert rebuilt.pairs() == original.pairs()
    assert rebuilt.percentile_us(99) == original.percentile_us(99)


def test_no_samples_give_zeros() -> None:
    """An empty histogram has no infinite minimum to print."""
    empty = Histogram()
    assert (empty.count, empty.mean_us, empty.max_us, empty.percentile_us(50), empty.pairs()) == (0, 0.0, 0.0, 0.0, ())


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (0.2, 1), (0.3, 2), (50, 250), (99, 495), (99.9, 500), (100, 500)]
)
def test_a_percentile_is_the_value_that_so_many_samples_do_not_exceed(percent: float, value: int) -> None:
    """Of 1 to 500 µs, which are kept exactly."""
    assert record([number * 1e-6 for number in range(1, 501)]).percentile_us(percent) == value


@pytest.mark.parametrize(
    ("value", "lower", "middle"),
    [(511, 511, 511), (513, 512, 512.5), (1024, 1024, 1025.5), (4100, 4096, 4103.5),
     ((1 << 39) + 5, 1 << 39, (1 << 39) + (1 << 30) - 0.5)],
)  # fmt: skip
def test_a_value_is_kept_as_a_bucket_of_a_256th(value: int, lower: int, middle: float) -> None:
    """A percentile within is its middle; below 512 µs a bucket is one value."""
    histogram = record([0, value * 1e-6, 1e6])
    assert (histogram.pairs()[1], histogram.percentile_us(50)) == ((lower, 1), middle)


def test_the_width_of_a_bucket_is_said_as_a_share() -> None:
    """For those who compare two histograms."""
    assert RELATIVE_WIDTH == 1 / 256


def test_no_percentile_is_outside_the_samples() -> None:
    """The middle of a bucket may be."""
    assert record([0.004096]).percentile_us(50) == 4096
    assert record([0.004111]).percentile_us(50) == 4111


@pytest.mark.parametrize(("seconds", "micros"), [(-1.0, 0), (0.0, 0), (1e9, 1 << 40)])
def test_what_no_bucket_holds_is_kept_in_the_nearest(seconds: float, micros: int) -> None:
    """A clock that went back, and twelve days."""
    histogram = record([seconds])
    assert (histogram.min_us, histogram.max_us, histogram.percentile_us(50)) == (micros, micros, micros)


def test_the_mean_is_that_of_the_samples() -> None:
    """Not of the buckets; merging and rebuilding keep it."""
    histogram = record([0.1001, 0.3003])
    assert histogram.mean_us == pytest.approx(200_200, rel=1e-9)
    histogram.merge(record([0.5005]))
    rebuilt = Histogram.from_pairs(histogram.pairs(), mean_us=histogram.mean_us, min_us=100_100, max_us=500_500)
    assert rebuilt.mean_us == pytest.approx(300_300, rel=1e-9)
    assert (rebuilt.min_us, rebuilt.max_us) == (100_100, 500_500)


def test_a_sample_counts_as_often_as_is_said() -> None:
    """As if it had been recorded that many times."""
    often, repeated = Histogram(), record([0.002, 0.002, 0.002, 0.005])
    often.record_seconds(np.array([0.002, 0.005]), np.array([3, 1]))
    assert (often.pairs(), often.mean_us, often.max_us) == (repeated.pairs(), repeated.mean_us, repeated.max_us)
