"""One measurement of one configuration: what clients saw, and how long Triton's executions took by batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serve_deploy.reports.document import Document
from serve_deploy.reports.point import ModelStatistics, Point
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


class Fallen(Exception):
    """A candidate that cannot be measured any more, with the reason."""


def read_executions(statistics: Sequence[ModelStatistics], models: Mapping[str, str]) -> tuple[Executions, ...]:
    """The executions in Triton's account of a period; `models` has what each tuned model is called in the paths."""
    return tuple(
        Executions(
            model=models[each.model],
            batch_size=batch.batch_size,
            count=batch.executions,
            mean_seconds=batch.compute_us / 1e6,
        )
        for each in statistics
        if each.model in models
        for batch in each.batches
    )
