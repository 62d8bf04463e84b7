"""Histograms: bounded error, exact merging."""

from __future__ import annotations

import numpy as np
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
    assert (empty.count, empty.mean_us, empty.percentile_us(50), empty.pairs()) == (0, 0.0, 0.0, ())
