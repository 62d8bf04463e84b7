"""The timeline of a load as slices on one axis, which runs through all its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.reports.point import Point, TimelineBucket


@dataclass(frozen=True)
class Slice:
    """One slice of time on the chart's axis, which runs through all repeats."""

    start: float
    bucket: TimelineBucket
    repeat: int


def lay_out(repeats: Sequence[Point], most: int) -> list[Slice]:
    """Put the repeats one after the other, joining slices until no more than `most` are left."""
    total = sum(len(point.timeline) for point in repeats)
    together = max(1, -(-total // most))
    slices, offset = [], 0.0
    for number, point in enumerate(repeats):
        timeline = cut_timeline(point)
        for index in range(0, len(timeline), together):
            bucket = join_buckets(timeline[index : index + together])
            slices.append(Slice(offset + bucket.start_seconds, bucket, number))
        if timeline:
            offset += timeline[-1].start_seconds + timeline[-1].duration_seconds
    return slices


def cut_timeline(point: Point) -> list[TimelineBucket]:
    """The timeline up to the end of the period, which mostly comes within a slice.

    A slice that is cut to less than half is joined to the one before: its few answers in a wide slice would look like
    a stall, and in its true width like a burst.
    """
    buckets = list(point.timeline)
    if not buckets:
        return buckets
    last = buckets.pop()
    seconds = min(last.duration_seconds, point.duration_seconds - last.start_seconds)
    if seconds <= 0:
        seconds = last.duration_seconds
    cut = last.model_copy(update={"duration_seconds": seconds})
    if buckets and seconds < last.duration_seconds / 2:
        cut = join_buckets([buckets.pop(), cut])
    return [*buckets, cut]


def join_buckets(buckets: Sequence[TimelineBucket]) -> TimelineBucket:
    """Join neighbouring slices: counts add, p50 is their mean by answers, p99, max and in flight the highest."""
    answered = sum(bucket.succeeded for bucket in buckets)
    weighted = sum(bucket.response_p50_us * bucket.succeeded for bucket in buckets)
    return TimelineBucket(
        start_seconds=buckets[0].start_seconds,
        duration_seconds=sum(bucket.duration_seconds for bucket in buckets),
        succeeded=answered,
        failed=sum(bucket.failed for bucket in buckets),
        in_flight=max(bucket.in_flight for bucket in buckets),
        response_p50_us=weighted / answered if answered else max(bucket.response_p50_us for bucket in buckets),
        response_p99_us=max(bucket.response_p99_us for bucket in buckets),
        response_max_us=max(bucket.response_max_us for bucket in buckets),
    )
