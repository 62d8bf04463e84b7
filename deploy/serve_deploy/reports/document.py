"""What the parts of a load-test report have in common: they are frozen, and hold latencies as a summary."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Frozen; unknown keys of a newer serve are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LatencySummary(Document):
    """Microseconds. `histogram` holds every value in HDR buckets: pairs of (bucket's lower bound, count)."""

    count: int
    mean_us: float
    min_us: float
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    p999_us: float
    max_us: float
    histogram: tuple[tuple[int, int], ...] = ()


class TimeSlice(Document):
    """A part of the measurement period; start is relative to the period's."""

    start_seconds: float
    duration_seconds: float
