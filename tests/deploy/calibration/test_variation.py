"""How execution times vary: what every execution has, and stalls."""

from __future__ import annotations

import numpy as np
import pytest
from sweeps import point

from serve_deploy.calibration.variation import Variation, fit_variation
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import Point

MS = 1e-3


def load(users: int, ms: dict[float, int]) -> Point:
    """A load of 10 s with so many responses of each length."""
    histogram = Histogram()
    for each, count in ms.items():
        histogram.record_seconds(np.full(count, each * MS))
    return point(users, 100, 1, response=summarize(histogram))


def test_a_stall_takes_as_long_in_a_large_batch_and_is_more_likely() -> None:
    """One in a hundred executions of 1 ms is 20 ms longer; of those of 4 ms one in 25 is, and not 80 ms longer."""
    found = fit_variation([load(1, {1: 990, 21: 10})], 0.0).times(8, 4.8 * MS).quantiles
    assert found.mean() == pytest.approx(4.8 * MS)
    assert found[0] == pytest.approx(4 * MS, rel=0.01)
    assert found[-1] == pytest.approx(24 * MS, rel=0.01)
    assert (found > 20 * MS).mean() == pytest.approx(0.04, rel=0.02)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (load(8, {8: 8000}), 0.5),
        (load(8, {8: 7920, 29: 80}), 1),
        (load(8, {8: 7920, 29: 800}), 1),
        (load(8, {40: 9}), 1),
    ],
    ids=["none", "as many", "more", "too slow to tell"],
)
def test_stalls_that_other_loads_do_not_have_are_rarer(other: Point, share: float) -> None:
    """Ten in 10 s under the load of one user; each delays all eight users of the other load."""
    alone = load(1, {1: 990, 21: 10})
    (stall,) = fit_variation([alone, other], 0.0).stalls
    assert stall.rate == pytest.approx(share * 10 / 0.99, rel=0.01)


def test_what_all_executions_vary_by_grows_with_them() -> None:
    """Of 1 ms some take half as long again; the 0.5 ms outside of the model stay as they are."""
    found = fit_variation([load(1, {1.5: 500, 2: 500})], 0.5 * MS).times(8, 10 * MS).quantiles
    assert (found[0], found[-1]) == pytest.approx((8 * MS, 12 * MS), rel=0.01)


def test_without_a_load_of_one_user_nothing_varies() -> None:
    """All executions then take their mean."""
    assert np.ptp(Variation({}).times(4, MS).quantiles) == 0
