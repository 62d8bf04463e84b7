"""What a simulation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Durations:
    """Durations of requests, in seconds, ascending."""

    seconds: Seconds

    @property
    def count(self) -> int:
        """How many."""
        return len(self.seconds)

    @property
    def mean(self) -> float:
        """Their mean; 0 where there are none."""
        return float(self.seconds.mean()) if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The smallest that at least `percent` % do not exceed; 0 where there are none."""
        if not self.count:
            return 0.0
        return float(self.seconds[max(0, int(np.ceil(self.count * percent / 100 - 1e-9)) - 1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamResult:
    """What the requests of one stream saw that were sent in the period; `response` is from send to answer.

    `throughput` is answers a second that came in the period, and `mean_in_flight` the mean from send to answer.
    `parts` has the same of each model of a mix.
    """

    model: str
    sent: int
    succeeded: int
    rejected: int
    throughput: float
    response: Durations
    mean_in_flight: float
    presence: Presence = field(repr=False)
    parts: tuple[StreamResult, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelResult:
    """What a model did in the period. In flight, waiting and busy are means over time; batch sizes are in rows.

    In flight is what waits or executes inside the server, as Triton's own metrics see it.
    """

    model: str
    executions: int
    batch_sizes: Mapping[int, int]
    queue: Durations
    rejected: int
    utilisation: float
    mean_busy: float
    mean_in_flight: float
    mean_waiting: float
    presence: Presence = field(repr=False)

    @property
    def mean_batch_size(self) -> float:
        """Mean rows of an execution; 0 where there was none."""
        rows = sum(size * count for size, count in self.batch_sizes.items())
        return rows / self.executions if self.executions else 0.0


@dataclass(frozen=True, eq=False)
class Presence:
    """When requests came and went, each ascending, in seconds from the start of the simulation."""

    came: Seconds
    went: Seconds

    def at(self, seconds: Seconds) -> NDArray[np.int64]:
        """How many are there at each of these times."""
        came = np.searchsorted(self.came, seconds, side="right")
        return came - np.searchsorted(self.went, seconds, side="right")

    def mean(self, start: float, end: float) -> float:
        """The mean over a period."""
        # Each contributes the time between start and end that it was there.
        inside = np.clip(self.went, start, end).sum() - np.clip(self.came, start, end).sum()
        return float(inside) / (end - start) if end > start else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """A simulation's period, in seconds from its start, and what the streams saw and the models did in it."""

    start_seconds: float
    end_seconds: float
    streams: tuple[StreamResult, ...]
    models: tuple[ModelResult, ...]

    @property
    def stream(self) -> StreamResult:
        """The only stream; ValueError where there are several."""
        (stream,) = self.streams
        return stream

    @property
    def model(self) -> ModelResult:
        """The only model; ValueError where there are several."""
        (model,) = self.models
        return model
