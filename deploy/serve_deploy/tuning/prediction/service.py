"""What was measured of one setting of a model, for its twin. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_deploy.calibration.fit import fit, mean_batch_size
from serve_deploy.tuning.measured import Measured
from serve_deploy.twin import Outside, ServiceTimes


@dataclass(frozen=True)
class Service:
    """What was measured of one setting, by the number of instances.

    `dispatch_seconds`: how long a request waits that finds an instance idle.
    """

    times: ServiceTimes
    outside: Outside
    largest_batch: int
    levels: tuple[int, ...]
    cpu_seconds: tuple[tuple[float, float], ...]
    dispatch_seconds: float = 0.0

    def cpu_seconds_at(self, mean_batch_size: float) -> float | None:
        """The server's CPU time for an inference, by the mean batch size; None where it was not to be seen."""
        if not self.cpu_seconds:
            return None
        sizes, seconds = zip(*sorted(self.cpu_seconds), strict=True)
        return float(np.interp(mean_batch_size, sizes, seconds))


def fit_service(levels: Mapping[int, Sequence[Measured]], largest_batch: int) -> Service:
    """Service times from the measurements of each instance count; the first level needs single requests alone."""
    fitted = fit(levels, largest_batch)
    return Service(
        times=fitted.times,
        outside=fitted.outside,
        largest_batch=largest_batch,
        levels=tuple(sorted(levels)),
        dispatch_seconds=fitted.dispatch_seconds,
        cpu_seconds=tuple(
            (mean_batch_size(each), each.point.server_cpu_cores / each.point.throughput)
            for periods in levels.values()
            for each in periods
            if each.point.server_cpu_cores and each.point.throughput and each.point.load.batch_size == 1
        ),
    )
