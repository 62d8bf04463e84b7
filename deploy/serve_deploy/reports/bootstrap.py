"""How far a difference between two runs can be chance: seeded bootstraps over repeats, histograms and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deploy.reports.point import LatencySummary

Floats = NDArray[np.float64]
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """now minus before with its confidence interval, which may be infinite."""

    estimate: float
    low: float
    high: float


def bootstrap_repeats(before: Floats, now: Floats, confidence: float, random: np.random.Generator) -> Difference:
    """Smoothed bootstrap-t of the difference of two means; needs four repeats in all, two degrees of freedom.

    The residuals of both sides are pooled: three a side are too few to resample each on its own (the interval
    then covers far less than it promises), and machines are about as noisy before as after.
    """
    residuals = np.concatenate([before - before.mean(), now - now.mean()])
    estimate = float(now.mean() - before.mean())
    spread = _standard_error(before[np.newaxis], now[np.newaxis])[0]
    drawn_before, drawn_now = (_draw_smoothly(residuals, side.size, random) for side in (before, now))
    difference = drawn_now.mean(axis=1) - drawn_before.mean(axis=1)
    error = _standard_error(drawn_before, drawn_now)
    studentised = np.divide(difference, error, out=np.zeros_like(error), where=error > 0)
    reach = float(np.quantile(np.abs(studentised), confidence, method="higher")) if spread > 0 else 0.0
    return Difference(estimate, estimate - reach * spread, estimate + reach * spread)


def _draw_smoothly(residuals: Floats, size: int, random: np.random.Generator) -> Floats:
    """Resample with a normal kernel of Silverman's width: few values would else come up equal, without any spread."""
    width = residuals.std() * (residuals.size * 3 / 4) ** -0.2
    drawn: Floats = random.choice(residuals, (_RESAMPLES, size)) + random.normal(0, width, (_RESAMPLES, size))
    return drawn


def _standard_error(before: Floats, now: Floats) -> Floats:
    degrees = before.shape[1] + now.shape[1] - 2
    squares = [((side - side.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for side in (before, now)]
    variance: Floats = (squares[0] + squares[1]) / degrees
    # Rounding leaves a hair of variance among equal values.
    variance[variance < 1e-24] = 0
    error: Floats = np.sqrt(variance * (1 / before.shape[1] + 1 / now.shape[1]))
    return error


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


def logarithms(values: Sequence[float]) -> Floats | None:
    """Logarithms, for relative changes; None where one is not positive."""
    numbers = np.array(values, dtype=np.float64)
    return np.log(numbers) if numbers.size and bool((numbers > 0).all()) else None
