"""Put token figures together: of the repeats of one load, or of parts that ran at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from serve_deploy.errors import UsageError
from serve_deploy.reports.generation import CountedBy, Generation, LongestGap, ObjectiveResult, TokenBucket
from serve_deploy.reports.latencies import pool_latency
from serve_deploy.reports.point import Point


def pool_tokens(points: Sequence[Point], seconds: float) -> Generation | None:
    """Add up what was measured by token over `seconds` in all; the timelines stay with their points.

    UsageError where some points were measured by token and some not, or by other objectives.
    """
    parts = [point.generation for point in points if point.generation]
    if not parts:
        return None
    kinds = {(part.protocol, *(objective.expression for objective in part.objectives)) for part in parts}
    if len(parts) < len(points) or len(kinds) > 1:
        raise UsageError(
            "measurements of token streams by other protocols or objectives cannot be put together",
            hint="leave out `merge` to see them side by side",
        )
    input_tokens = _add_known([part.input_tokens for part in parts])
    output_tokens = sum(part.output_tokens for part in parts)
    return parts[0].model_copy(
        update={
            "time_to_first_token": pool_latency(part.time_to_first_token for part in parts),
            "inter_token": pool_latency(part.inter_token for part in parts),
            "time_per_output_token": pool_latency(part.time_per_output_token for part in parts),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "output_tokens_of_failures": sum(part.output_tokens_of_failures for part in parts),
            "pieces": sum(part.pieces for part in parts),
            "input_tokens_per_second": None if input_tokens is None else input_tokens / seconds,
            "output_tokens_per_second": output_tokens / seconds,
            "output_counted_by": _add_counts([part.output_counted_by for part in parts]),
            "input_counted_by": _add_counts([part.input_counted_by for part in parts]),
            "good": _add_known([part.good for part in parts]),
            "objectives": _add_objectives(parts),
            "longest_gap": find_longest([part.longest_gap for part in parts]),
            "timeline": (),
        }
    )


def find_longest(gaps: Sequence[LongestGap | None]) -> LongestGap | None:
    """The longest of several gaps; None where there is none."""
    return max((gap for gap in gaps if gap), key=lambda gap: gap.gap_us, default=None)


def join_token_buckets(start_seconds: float, seconds: float, buckets: Sequence[TokenBucket]) -> TokenBucket:
    """One slice of several: counts add up, the longest gap stays."""
    return TokenBucket(
        start_seconds=start_seconds,
        duration_seconds=seconds,
        output_tokens=sum(bucket.output_tokens for bucket in buckets),
        first_tokens=sum(bucket.first_tokens for bucket in buckets),
        gap_max_us=max((bucket.gap_max_us for bucket in buckets), default=0.0),
    )


def _add_known(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _add_counts(counts: Sequence[Mapping[CountedBy, int]]) -> dict[CountedBy, int]:
    total: Counter[CountedBy] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def _add_objectives(parts: Sequence[Generation]) -> tuple[ObjectiveResult, ...]:
    columns = zip(*(part.objectives for part in parts), strict=True)
    return tuple(
        column[0].model_copy(update={"missed": sum(objective.missed for objective in column)}) for column in columns
    )
