"""Latencies between their two forms, histogram and summary, and those of several measurements put together."""

from __future__ import annotations

from collections.abc import Iterable

from serve_deploy.errors import UsageError
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.histogram import Histogram


def read_histogram(latency: LatencySummary) -> Histogram:
    """The histogram that a summary was made from."""
    return Histogram.from_pairs(
        latency.histogram, mean_us=latency.mean_us, min_us=latency.min_us, max_us=latency.max_us
    )


def summarize(histogram: Histogram) -> LatencySummary:
    """The report's form of a histogram; all 0 where there are no samples."""
    return LatencySummary(
        count=histogram.count,
        mean_us=histogram.mean_us,
        min_us=histogram.min_us if histogram.count else 0.0,
        p50_us=histogram.percentile_us(50),
        p90_us=histogram.percentile_us(90),
        p95_us=histogram.percentile_us(95),
        p99_us=histogram.percentile_us(99),
        p999_us=histogram.percentile_us(99.9),
        max_us=histogram.max_us,
        histogram=histogram.pairs(),
    )


def pool_latency(summaries: Iterable[LatencySummary]) -> LatencySummary:
    """Merge latencies into those of all their requests together; UsageError where one has no histogram."""
    counted = [summary for summary in summaries if summary.count]
    if len(counted) == 1:
        return counted[0]
    if not all(summary.histogram for summary in counted):
        raise UsageError("latencies without their histogram cannot be merged", hint="measure again with this serve")
    pooled = Histogram()
    for summary in counted:
        pooled.merge(read_histogram(summary))
    return summarize(pooled)
