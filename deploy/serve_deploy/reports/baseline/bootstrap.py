"""How far a difference between two runs can be chance: seeded bootstraps of histograms and counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.intervals import Difference

Floats = NDArray[np.float64]
_RESAMPLES = 10_000


def bootstrap_percentile(latency: LatencySummary, fraction: float, random: np.random.Generator) -> Floats:
    """Resample a histogram and read a percentile of each resample, in µs.

    The k-th smallest of n uniform draws is distributed as Beta(k, n − k + 1), so each resample is one draw.
    """
    bounds, counts = np.array(latency.histogram, dtype=np.int64).T
    rank = max(1, int(np.ceil(latency.count * fraction)))
    quantiles = random.beta(rank, latency.count - rank + 1, _RESAMPLES)
    found = np.searchsorted(np.cumsum(counts) / counts.sum(), quantiles)
    values: Floats = bounds[np.minimum(found, bounds.size - 1)].astype(np.float64)
    return values


def bootstrap_count(count: int, random: np.random.Generator) -> Floats:
    """Resample a count of events."""
    return random.poisson(count, _RESAMPLES).astype(np.float64)


def bootstrap_share(events: int, trials: int, random: np.random.Generator) -> Floats:
    """Resample a share of trials."""
    return random.binomial(trials, events / trials, _RESAMPLES) / trials


def take_interval(estimate: float, resamples: Floats, confidence: float) -> Difference:
    """The percentile interval of resampled differences."""
    low, high = np.quantile(resamples, ((1 - confidence) / 2, (1 + confidence) / 2)).tolist()
    return Difference(estimate, low, high)
