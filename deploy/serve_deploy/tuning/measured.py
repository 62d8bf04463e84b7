"""One measurement of one configuration: what clients saw, and how long Triton's executions took by batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve_deploy.reports.document import Document
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats


class MixedPoint(Point):
    """A load-test point; of several models under a mixed load with the same of each, which says its `model`."""

    model: str = ""
    parts: tuple[MixedPoint, ...] = ()


def pool_points(points: Sequence[MixedPoint]) -> MixedPoint:
    """Repeats of one load together, and so of each model of a mix."""
    whole = pool_repeats(points)
    parts = zip(*(point.parts for point in points), strict=True)
    # What was copied from the first point has its type.
    return whole.model_copy(update={"parts": tuple(map(pool_points, parts))})  # type: ignore[return-value]


class Executions(Document):
    """Executions of one batch size: how many, and the mean time that an instance was taken by one.

    `model` is "" where only one is tuned.
    """

    model: str = ""
    batch_size: int
    count: int
    mean_seconds: float


class Measured(Document):
    """A load-test point without its timeline, the executions behind it, and the server's memory after it."""

    point: MixedPoint
    executions: tuple[Executions, ...] = ()
    memory_bytes: int | None = None

    @property
    def concurrency(self) -> int:
        """Requests at a time; 0 in an open loop."""
        return self.point.load.concurrency or 0

    @property
    def mean_batch_size(self) -> float:
        """Rows in an execution; 0 where there was none."""
        count = sum(each.count for each in self.executions)
        return sum(each.batch_size * each.count for each in self.executions) / count if count else 0.0


def grown_executions(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], model: str = ""
) -> tuple[Executions, ...]:
    """What happened between two answers of Triton's statistics of a model (`model_stats`), by batch size."""
    old, new = _by_size(before), _by_size(after)
    grown = {size: [now - then for now, then in zip(new[size], old.get(size, (0, 0)), strict=True)] for size in new}
    return tuple(
        Executions(model=model, batch_size=size, count=count, mean_seconds=nanoseconds / count / 1e9)
        for size, (count, nanoseconds) in sorted(grown.items())
        if count > 0
    )


def _by_size(statistics: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, int]]:
    """Executions, and the nanoseconds of all of them, by batch size; over all versions of the model."""
    found: dict[int, tuple[int, int]] = {}
    for version in statistics:
        for each in version.get("batch_stats", ()):
            size = int(each["batch_size"])
            stages = [each.get(stage, {}) for stage in ("compute_input", "compute_infer", "compute_output")]
            count, nanoseconds = found.get(size, (0, 0))
            found[size] = (
                count + int(stages[1].get("count", 0)),
                nanoseconds + sum(int(stage.get("ns", 0)) for stage in stages),
            )
    return found
