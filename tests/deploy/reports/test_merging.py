"""Parts of one run add up to what one generator would have seen; what is not one run is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_reports import TARGET, make_point, make_report, make_stalled_point, make_sweep

from serve_deploy.errors import UsageError
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.intervals import estimate_interval, student_t
from serve_deploy.reports.latencies import pool_latency, summarize
from serve_deploy.reports.merging import merge_reports
from serve_deploy.reports.point import ErrorKind, Load, Point
from serve_deploy.reports.pooling import pool_repeats

LATENCIES = st.lists(st.integers(1, 10**9), max_size=60)


def summarise(latencies_us: list[int]) -> LatencySummary:
    """What the engine would save of these latencies."""
    histogram = Histogram()
    histogram.record_seconds(np.array(latencies_us, dtype=np.float64) / 1e6)
    return summarize(histogram)


def shift(point: Point, seconds: float) -> Point:
    """The same point, begun later."""
    started = datetime.fromisoformat(point.started_at) + timedelta(seconds=seconds)
    return point.model_copy(update={"started_at": started.isoformat()})


@given(LATENCIES, LATENCIES, LATENCIES)
def test_merged_latencies_are_those_of_all_requests(one: list[int], two: list[int], three: list[int]) -> None:
    """Whatever was measured where: percentiles and histogram are the same as if one generator had seen it all."""
    merged = pool_latency(map(summarise, (one, two, three)))
    whole = summarise(one + two + three)
    assert merged.histogram == whole.histogram
    assert merged.mean_us == pytest.approx(whole.mean_us)
    assert merged.model_copy(update={"mean_us": 0.0}) == whole.model_copy(update={"mean_us": 0.0})


def test_parts_add_up() -> None:
    """Counts, loads, errors and throughput of two generators; the server's account covers both already."""
    error = ErrorKind(kind="reset", count=5, example="reset by peer")
    parts = [make_stalled_point(seed=seed).model_copy(update={"errors": (error,), "failed": 5}) for seed in (1, 2)]
    (merged,) = merge_reports([make_report(part) for part in parts], ["a.json", "b.json"]).points
    assert merged.load == Load(mode="open", request_rate=400, distribution="constant")
    assert (merged.sent, merged.failed, merged.throughput) == (4000, 10, 400)
    assert merged.errors == (ErrorKind(kind="reset", count=10, example="reset by peer"),)
    assert merged.server == parts[0].server
    assert sum(bucket.succeeded for bucket in merged.timeline) == sum(
        bucket.succeeded for part in parts for bucket in part.timeline
    )


def test_the_period_is_the_union() -> None:
    """A part that began two seconds later makes the run two seconds longer, and shows there in the timeline."""
    parts = [make_report(make_stalled_point()), make_report(shift(make_stalled_point(), 2.0))]
    report = merge_reports(parts, ["a.json", "b.json"])
    (merged,) = report.points
    assert "ran together for only 80 % of their time" in report.notes[0]
    assert merged.duration_seconds == pytest.approx(12.0)
    assert merged.throughput == pytest.approx(4000 / 12)
    stalls = [bucket.start_seconds for bucket in merged.timeline if bucket.response_max_us > 400_000]
    assert stalls == pytest.approx([4.4, 6.4], abs=0.11)


def test_a_sweep_merges_point_by_point() -> None:
    """Each load and repeat of one part meets its counterpart."""
    merged = merge_reports([make_report(*make_sweep(seed=1)), make_report(*make_sweep(seed=2))], ["a", "b"])
    assert [point.load.concurrency for point in merged.points[::3]] == [2, 4, 8, 16, 32]
    assert (merged.kind, merged.merged_from) == ("merged", ("a", "b"))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (make_report(target=TARGET.model_copy(update={"model": "letters"})), "measured model 'letters'"),
        (make_report(make_point(Load(mode="closed", concurrency=8))), "do not add up to one"),
        (make_report(make_point(), make_point(repeat=1)), "has 2 measurements"),
        (make_report(shift(make_point(), 60)), "did not run at the same time"),
    ],
)
def test_what_is_not_one_run_is_not_merged(other: object, says: str) -> None:
    """Other models, loads or times are refused, with the way to see them side by side."""
    with pytest.raises(UsageError, match=says) as caught:
        merge_reports([make_report(), other], ["a.json", "b.json"])  # type: ignore[list-item]
    assert "side by side" in (caught.value.hint or "")


def test_an_incomplete_part_makes_the_whole_incomplete() -> None:
    """A generator that was interrupted is not hidden by the others."""
    cut = make_report(complete=False, interrupted_reason="interrupted while measuring")
    merged = merge_reports([make_report(), cut], ["a.json", "b.json"])
    assert (merged.complete, merged.interrupted_reason) == (False, "interrupted while measuring")


def test_repeats_pool_over_time() -> None:
    """Rates of repeats are weighted by how long they lasted, and the worst slip stands."""
    short = make_point(response_us=np.full(100, 5000.0), duration_seconds=1.0)
    slip = short.client.model_copy(update={"slip_p99_us": 9000.0})
    long = make_point(response_us=np.full(600, 7000.0), duration_seconds=3.0, client=slip)
    pooled = pool_repeats([short, long])
    assert (pooled.duration_seconds, pooled.throughput, pooled.sent) == (4.0, 175.0, 700)
    assert pooled.client.slip_p99_us == 9000.0
    assert pooled.server[0].requests == 700


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of many intervals over five repeats about 95 % hold the true mean."""
    random = np.random.default_rng(0)
    intervals = [estimate_interval(random.normal(100, 5, 5).tolist()) for _ in range(2000)]
    covered = sum(interval.low <= 100 <= interval.high for interval in intervals if interval)
    assert 0.935 <= covered / 2000 <= 0.965
    assert estimate_interval([1.0]) is None


def test_no_interval_reaches_below_zero() -> None:
    """No latency, rate or share can be negative, however much three values scatter."""
    interval = estimate_interval([0.1, 0.2, 5.0])
    assert interval is not None
    assert (interval.low, interval.high > interval.mean) == (0, True)


def test_a_repeated_load_has_an_interval_for_every_figure() -> None:
    """The report's JSON says of each load and figure how sure it is; a single run claims nothing."""
    report = make_report(*make_sweep())
    first = report.intervals[0]
    assert [each.load.concurrency for each in report.intervals] == [1, 2, 4, 8, 16]
    assert {"throughput", "error_rate", "queue_us", "response.p50_us", "service.p999_us"} <= set(first.figures)
    values = [point.response.p99_us for point in report.points[:3]]
    assert first.figures["response.p99_us"] == estimate_interval(values)
    assert report.model_dump(mode="json")["intervals"][0]["repeats"] == 3
    assert make_report().intervals == ()


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (2, 0.99, 9.925), (5, 0.99, 4.032), (10, 0.999, 4.587), (120, 0.95, 1.980)],
)
def test_students_t_is_the_printed_tables(degrees: int, confidence: float, quantile: float) -> None:
    """Odd and even degrees of freedom, and confidences beyond 95 %."""
    assert student_t(degrees, confidence) == pytest.approx(quantile, abs=0.0006)
