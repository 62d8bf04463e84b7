"""How Triton's dynamic batcher chooses a batch, as DynamicBatchScheduler::GetDynamicBatch does.

Read in triton-inference-server/core at r24.10 (unchanged up to mid-2026): dynamic_batch_scheduler.cc, payload.cc,
instance_queue.cc and scheduler_utils.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# Times that differ by less are the same: sums of binary fractions.
INSTANT = 1e-9


class Choice(NamedTuple):
    """Requests to take from the queue now, whether the batch then is closed, or else seconds to wait at most.

    While fewer than `next_preferred` are queued, arrivals do not wake the batcher; None: as many as before.
    """

    take: int
    closed: bool
    wait_seconds: float = 0.0
    next_preferred: int | None = None


@dataclass(frozen=True)
class BatchRules:
    """Sizes in requests, which all have as many rows."""

    largest: int
    preferred: tuple[int, ...]
    overflow: int
    full: int
    delay_seconds: float

    @classmethod
    def of(cls, max_batch_size: int, preferred: tuple[int, ...], delay_seconds: float, rows: int) -> BatchRules:
        """From the configuration, which counts rows."""
        sizes = sorted(preferred) or [max_batch_size]
        return cls(
            largest=max(1, max_batch_size // rows),
            preferred=tuple(size // rows for size in sizes if size % rows == 0),
            overflow=sizes[-1] // rows,
            full=-(-sizes[-1] // rows),
            delay_seconds=delay_seconds,
        )

    def choose(self, in_batch: int, queued: int, age_seconds: float) -> Choice:
        """What to do with the queue while a batch of `in_batch` may still grow; the age is the oldest one's."""
        pending = min(queued, self.largest - in_batch)
        cannot_grow = queued > pending
        best, closed = self._best(in_batch, queued, pending)
        waited = self.delay_seconds > 0 and age_seconds >= self.delay_seconds - INSTANT
        if best and not waited:
            return Choice(best, closed or not self.delay_seconds)
        if not pending:
            return Choice(0, closed)
        if cannot_grow or in_batch + pending >= self.full:
            return Choice(pending, True)
        if waited or not self.delay_seconds:
            return Choice(pending, closed)
        following = [size for size in self.preferred if size > in_batch + pending] or list(self.preferred[:1])
        next_preferred = max(0, following[0] - in_batch) if following else 0
        if not closed and in_batch and in_batch not in self.preferred:
            return Choice(pending, closed, 0.0, next_preferred)
        return Choice(0, closed, self.delay_seconds - age_seconds, next_preferred)

    def _best(self, in_batch: int, queued: int, pending: int) -> tuple[int, bool]:
        """The most that makes a preferred size, else what lies below all of them; and whether those overflow."""
        hits = [size - in_batch for size in self.preferred if in_batch < size <= in_batch + pending]
        if hits:
            return hits[-1], False
        below = max(0 if in_batch else 1, self.overflow - in_batch)
        overflows = queued > below
        return (below if overflows else 0), overflows
