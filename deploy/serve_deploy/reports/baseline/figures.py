"""The figures of a load that are compared with a baseline, and what chance could have made of each in one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from serve_deploy.reports.baseline import bootstrap
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.point import Point
from serve_deploy.reports.readers import ITL, TTFT, Read, find_latency, latency_reader, read_goodput, token_reader
from serve_deploy.reports.report import Metric

Pair = tuple[tuple[Point, ...], tuple[Point, ...]]
Resample = Callable[[Point, np.random.Generator], bootstrap.Floats]


@dataclass(frozen=True)
class Scale:
    """In what terms a figure is compared: its values and their resamples in them, a difference told, a mean told."""

    values: Callable[[float], float]
    draws: Callable[[bootstrap.Floats], bootstrap.Floats]
    change: Callable[[float], float]
    mean: Callable[[Sequence[float]], float]


def _expm1(value: float) -> float:
    # Two noisy repeats a side can leave an upper end beyond what a float holds.
    return math.expm1(min(value, 700.0))


def _geometric_mean(logarithms: Sequence[float]) -> float:
    return math.exp(fmean(logarithms))


def _take_logarithms(draws: bootstrap.Floats) -> bootstrap.Floats:
    logarithms: bootstrap.Floats = np.log(np.maximum(draws, 1e-9))
    return logarithms


RATIOS = Scale(math.log, _take_logarithms, _expm1, _geometric_mean)
POINTS = Scale(float, lambda draws: draws, float, fmean)


@dataclass(frozen=True)
class Figure:
    """A figure that is compared; `resample` draws what chance could have made of it within a single run."""

    metric: Metric
    read: Read
    resample: Resample
    scale: Scale = RATIOS
    lower_is_worse: bool = False


def _percentile(metric: Metric, clock: str, percent: int) -> Figure:
    def resample(point: Point, random: np.random.Generator) -> bootstrap.Floats:
        latency = find_latency(point, clock) or point.response
        return bootstrap.bootstrap_percentile(latency, percent / 100, random)

    return Figure(metric, latency_reader(clock, f"p{percent}_us"), resample)


def _resample_throughput(point: Point, random: np.random.Generator) -> bootstrap.Floats:
    return bootstrap.bootstrap_count(point.succeeded, random) / point.duration_seconds


def _resample_output(point: Point, random: np.random.Generator) -> bootstrap.Floats:
    # Tokens come and fail by the request.
    rate = point.generation.output_tokens_per_second if point.generation else 0.0
    return bootstrap.bootstrap_count(point.succeeded, random) / max(point.succeeded, 1) * rate


def _resample_goodput(point: Point, random: np.random.Generator) -> bootstrap.Floats:
    good = (point.generation.good if point.generation else None) or 0
    return bootstrap.bootstrap_share(good, point.ended, random)


_FIGURES = (
    _percentile("response_p50", "response", 50),
    _percentile("response_p99", "response", 99),
    Figure("throughput", lambda point: point.throughput, _resample_throughput, lower_is_worse=True),
)
_TOKEN_FIGURES = (
    _percentile("ttft_p50", TTFT, 50),
    _percentile("ttft_p99", TTFT, 99),
    _percentile("itl_p99", ITL, 99),
    Figure("output_tokens", token_reader("output_tokens_per_second"), _resample_output, lower_is_worse=True),
)
_GOODPUT = Figure("goodput", read_goodput, _resample_goodput, scale=POINTS, lower_is_worse=True)


def count_figures(pair: Pair) -> int:
    """How many figures of a load are compared, the errors included."""
    return len(list_figures(pair)) + 1


def list_figures(pair: Pair) -> tuple[Figure, ...]:
    """All but the errors, in the order in which they are told."""
    tokens = list_tokens(pair)
    has_objectives = any(generation.objectives for generation in tokens)
    return (*_FIGURES, *(_TOKEN_FIGURES if tokens else ()), *((_GOODPUT,) if has_objectives else ()))


def list_tokens(pair: Pair) -> list[Generation]:
    """What both sides measured by token."""
    return [point.generation for side in pair for point in side if point.generation]
