"""The timeline of a load as slices on one axis, which runs through all its repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve_deploy.reports.document import TimeSlice
from serve_deploy.reports.generation import TokenBucket
from serve_deploy.reports.point import Point, TimelineBucket
from serve_deploy.reports.token_pooling import join_token_buckets

Bucket = TypeVar("Bucket", bound=TimeSlice)


@dataclass(frozen=True)
class Slice(Generic[Bucket]):
    """One slice of time on the chart's axis, which runs through all repeats."""

    start: float
    bucket: Bucket
    repeat: int


def lay_out(repeats: Sequence[Point], most: int) -> list[Slice[TimelineBucket]]:
    """Put the repeats one after the other, joining slices until no more than `most` are left."""
    return _lay_out([cut_timeline(point) for point in repeats], most, join_buckets)


def lay_out_tokens(repeats: Sequence[Point], most: int) -> list[Slice[TokenBucket]]:
    """The same of what came by token."""
    timelines = [
        _cut(point.generation.timeline, point.duration_seconds, join_token_slices) if point.generation else []
        for point in repeats
    ]
    return _lay_out(timelines, most, join_token_slices)


def cut_timeline(point: Point) -> list[TimelineBucket]:
    """The timeline up to the end of the period, which mostly comes within a slice."""
    return _cut(point.timeline, point.duration_seconds, join_buckets)


def _lay_out(
    timelines: Sequence[Sequence[Bucket]], most: int, join: Callable[[Sequence[Bucket]], Bucket]
) -> list[Slice[Bucket]]:
    together = max(1, -(-sum(map(len, timelines)) // most))
    slices, offset = list[Slice[Bucket]](), 0.0
    for number, timeline in enumerate(timelines):
        for index in range(0, len(timeline), together):
            bucket = join(timeline[index : index + together])
            slices.append(Slice(offset + bucket.start_seconds, bucket, number))
        if timeline:
            offset += timeline[-1].start_seconds + timeline[-1].duration_seconds
    return slices


def _cut(timeline: Sequence[Bucket], lasted: float, join: Callable[[Sequence[Bucket]], Bucket]) -> list[Bucket]:
    """A slice that is cut to less than half is joined to the one before.

    Its few answers in a wide slice would look like a stall, and in its true width like a burst.
    """
    buckets = list(timeline)
    if not buckets:
        return buckets
    last = buckets[-1]
    seconds = min(last.duration_seconds, lasted - last.start_seconds)
    if seconds > 0:
        buckets[-1] = last.model_copy(update={"duration_seconds": seconds})
    if len(buckets) > 1 and 0 < seconds < last.duration_seconds / 2:
        buckets[-2:] = [join(buckets[-2:])]
    return buckets


def join_token_slices(buckets: Sequence[TokenBucket]) -> TokenBucket:
    """Join neighbouring slices: counts add, the longest gap stays."""
    seconds = sum(bucket.duration_seconds for bucket in buckets)
    return join_token_buckets(buckets[0].start_seconds, seconds, buckets)


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
