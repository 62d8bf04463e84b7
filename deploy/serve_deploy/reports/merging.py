"""Make one report of the parts of a distributed run: generators that loaded one server at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from serve_deploy.errors import UsageError
from serve_deploy.reports.document import TimeSlice
from serve_deploy.reports.figures import format_load
from serve_deploy.reports.generation import Generation, LongestGap
from serve_deploy.reports.point import Load, Point, TimelineBucket
from serve_deploy.reports.pooling import add_counts, pool_client
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.reports.token_pooling import find_longest, join_token_buckets, pool_tokens

Bucket = TypeVar("Bucket", bound=TimeSlice)

_LEAST_OVERLAP = 0.5
_FULL_OVERLAP = 0.95


def merge_reports(reports: Sequence[LoadTestReport], names: Sequence[str]) -> LoadTestReport:
    """Merge parts into one report; UsageError where they are not of one model and one time.

    Counts, loads and histograms add up; throughput is over the union of the periods. The server's own account
    already covers all parts, so that of the part that saw most of it stands.
    """
    first = reports[0]
    for report, name in zip(reports, names, strict=True):
        _require_same_target(first, report, names[0], name)
        if len(report.points) != len(first.points):
            raise UsageError(
                f"{name} has {len(report.points)} measurements and {names[0]} has {len(first.points)}: they are not "
                "parts of one run",
                hint="leave out `merge` to see them side by side",
            )
    reasons = [report.interrupted_reason for report in reports if report.interrupted_reason]
    return first.model_copy(
        update={
            "kind": "merged",
            "complete": all(report.complete for report in reports),
            "interrupted_reason": "; ".join(dict.fromkeys(reasons)) or None,
            "points": tuple(_merge_points(parts) for parts in zip(*(report.points for report in reports), strict=True)),
            "gates": (),
            "baseline": None,
            "search": None,
            "merged_from": tuple(names),
            "notes": _notes(reports),
        }
    )


def add_up_models(reports: Sequence[LoadTestReport]) -> LoadTestReport:
    """One report of models that were measured at the same time; UsageError where their loads are not of one kind.

    Its latencies are those of all requests together. The server's account of each model stands in the model's own.
    """
    first, names = reports[0], [report.target.model for report in reports]
    none = {"model_version": "", "platform": "", "max_batch_size": 0, "model_config_sha256": "", "inputs": (),
            "outputs": (), "instances": None, "scheduling": None, "members": ()}  # fmt: skip
    return first.model_copy(
        update={
            "kind": "merged",
            "target": first.target.model_copy(update={"model": f"{len(names)} models", **none}),
            "data": None,
            "complete": all(report.complete for report in reports),
            "points": tuple(map(_add_up, zip(*(report.points for report in reports), strict=True))),
            "gates": (),
            "merged_from": tuple(names),
            "notes": (),
        }
    )


def _add_up(parts: Sequence[Point]) -> Point:
    return _merge_points(parts).model_copy(update={"server": (), "load": join_loads([part.load for part in parts])})


def _notes(reports: Sequence[LoadTestReport]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(note for report in reports for note in report.notes))
    met = min((_overlap(parts) for parts in zip(*(report.points for report in reports), strict=True)), default=1.0)
    if met < _FULL_OVERLAP:
        notes.append(
            f"The parts ran together for only {100 * met:.0f} % of their time, so the whole load was not on throughout."
        )
    if any(point.timeline for report in reports for point in report.points):
        notes.append("The timeline's p50 and p99 are those of the slowest part in each slice; its counts are sums.")
    return tuple(notes)


def _require_same_target(first: LoadTestReport, other: LoadTestReport, first_name: str, name: str) -> None:
    for field in ("model", "model_version", "model_config_sha256", "protocol"):
        expected, found = getattr(first.target, field), getattr(other.target, field)
        if expected != found:
            raise UsageError(
                f"{name} measured {field} '{found}' and {first_name} '{expected}': they are not parts of one run",
                hint="leave out `merge` to see them side by side",
            )


def _merge_points(parts: Sequence[Point]) -> Point:
    if len(parts) == 1:
        return parts[0]
    start, seconds = _unite_periods(parts)
    richest = max(parts, key=lambda part: sum(account.requests for account in part.server))
    return parts[0].model_copy(
        update={
            **add_counts(parts, seconds),
            "load": add_loads([part.load for part in parts]),
            "started_at": start.isoformat(),
            # The busiest generator's share: one at its limit is not made free by an idle one.
            "client": pool_client(parts, max(part.client.cpu_fraction for part in parts)),
            "server": richest.server,
            "server_metrics": richest.server_metrics,
            "pending": richest.pending,
            "timeline": _merge_timelines(parts, start),
            "generation": _merge_tokens(parts, start, seconds),
        }
    )


def _periods(parts: Sequence[Point]) -> tuple[list[datetime], list[datetime]]:
    starts = [datetime.fromisoformat(part.started_at) for part in parts]
    return starts, [start + timedelta(seconds=part.duration_seconds) for start, part in zip(starts, parts, strict=True)]


def _overlap(parts: Sequence[Point]) -> float:
    """The share of the shortest part's period in which all parts ran; negative where they never met."""
    starts, ends = _periods(parts)
    return (min(ends) - max(starts)).total_seconds() / min(part.duration_seconds for part in parts)


def _unite_periods(parts: Sequence[Point]) -> tuple[datetime, float]:
    if _overlap(parts) < _LEAST_OVERLAP:
        raise UsageError(
            f"the parts at {format_load(parts[0].load)} did not run at the same time "
            f"(they started at {', '.join(part.started_at for part in parts)})",
            hint="only generators that ran together make one load; leave out `merge` to see them side by side",
        )
    starts, ends = _periods(parts)
    return min(starts), (max(ends) - min(starts)).total_seconds()


def add_loads(loads: Sequence[Load]) -> Load:
    """The whole load of parts that ran at the same time; UsageError where they are not of one kind."""
    shapes = {(load.mode, load.distribution, load.batch_size, load.replay_of, load.shared_by) for load in loads}
    if len(shapes) > 1:
        raise UsageError(
            f"parts with different loads ({' and '.join(map(format_load, loads))}) do not add up to one",
            hint="leave out `merge` to see them side by side",
        )
    return loads[0].model_copy(
        update={
            name: sum(values) if (values := [value for load in loads if (value := getattr(load, name))]) else None
            for name in ("concurrency", "request_rate", "ramp_from", "ramp_to")
        }
    )


def join_loads(loads: Sequence[Load]) -> Load:
    """The whole load of several models: the users whom they share, or all loads together as in `add_loads`."""
    if all(load.shared_by == len(loads) for load in loads):
        return loads[0].model_copy(update={"shared_by": None})
    return add_loads(loads)


def _merge_timelines(parts: Sequence[Point], start: datetime) -> tuple[TimelineBucket, ...]:
    return _merge_slices([part.timeline for part in parts], _offsets(parts, start), _join_slice)


def _offsets(parts: Sequence[Point], start: datetime) -> list[float]:
    return [(datetime.fromisoformat(part.started_at) - start).total_seconds() for part in parts]


def _merge_slices(
    timelines: Sequence[Sequence[Bucket]],
    offsets: Sequence[float],
    join: Callable[[float, float, Sequence[Bucket]], Bucket],
) -> tuple[Bucket, ...]:
    """One timeline of several that began at their offsets: each slice is joined to where its middle lies."""
    width = max((bucket.duration_seconds for timeline in timelines for bucket in timeline), default=0.0)
    if not width:
        return ()
    slices: dict[int, list[Bucket]] = {}
    for timeline, offset in zip(timelines, offsets, strict=True):
        for bucket in timeline:
            middle = offset + bucket.start_seconds + bucket.duration_seconds / 2
            slices.setdefault(int(middle // width), []).append(bucket)
    return tuple(join(index * width, width, slices.get(index, [])) for index in range(max(slices) + 1))


def _merge_tokens(parts: Sequence[Point], start: datetime, seconds: float) -> Generation | None:
    pooled, offsets = pool_tokens(parts, seconds), _offsets(parts, start)
    if pooled is None:
        return None
    measured = [part.generation for part in parts if part.generation]
    longest = [_shift(each.longest_gap, offset) for each, offset in zip(measured, offsets, strict=True)]
    timeline = _merge_slices([each.timeline for each in measured], offsets, join_token_buckets)
    return pooled.model_copy(update={"longest_gap": find_longest(longest), "timeline": timeline})


def _shift(gap: LongestGap | None, offset: float) -> LongestGap | None:
    return gap and gap.model_copy(update={"start_seconds": gap.start_seconds + offset})


def _join_slice(start_seconds: float, seconds: float, buckets: Sequence[TimelineBucket]) -> TimelineBucket:
    return TimelineBucket(
        start_seconds=start_seconds,
        duration_seconds=seconds,
        succeeded=sum(bucket.succeeded for bucket in buckets),
        failed=sum(bucket.failed for bucket in buckets),
        in_flight=sum(bucket.in_flight for bucket in buckets),
        response_p50_us=max((bucket.response_p50_us for bucket in buckets), default=0.0),
        response_p99_us=max((bucket.response_p99_us for bucket in buckets), default=0.0),
        response_max_us=max((bucket.response_max_us for bucket in buckets), default=0.0),
    )
