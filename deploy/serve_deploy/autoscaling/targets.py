"""What the autoscaler is told: replicas and their targets, how fast it may move, and what its metrics are means of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from serve_deploy.autoscaling.hpa import Autoscaler, Metric, Policy, ScalingRules
from serve_deploy.reports.gates import Gate

CONCURRENCY = "triton_concurrency"
PENDING = "triton_pending"
SCRAPE_SECONDS = RULE_SECONDS = 15.0
GUARD_WINDOW_SECONDS = 30.0
SHORTEST_DOWN_WINDOW_SECONDS, LONGEST_DOWN_WINDOW_SECONDS = 300, 3600


@dataclass(frozen=True, kw_only=True)
class ScalingTargets:
    """What the autoscaler holds: mean requests in flight and mean requests waiting, each per replica.

    `down_window_seconds` is the time in which a replica must not have been needed; None is what the cold start gives.
    """

    concurrency: float
    pending: float
    min_replicas: int
    max_replicas: int
    down_window_seconds: int | None = None


def scale_up_rules() -> ScalingRules:
    """At once, but capped, since concurrency explodes near the knee: two pods or a doubling in a minute."""
    return ScalingRules(0, (Policy("Pods", 2, 60), Policy("Percent", 100, 60)))


def scale_down_rules(cold_start_seconds: float, window_seconds: int | None = None) -> ScalingRules:
    """Slowly: one pod in two minutes, and only what was not needed for twice the time a new replica takes."""
    return ScalingRules(window_seconds or next(down_windows(cold_start_seconds)), (Policy("Pods", 1, 120),))


def down_windows(cold_start_seconds: float) -> Iterator[int]:
    """The window before a replica is removed, in seconds, and longer ones: each doubles the last, to an hour."""
    window = max(SHORTEST_DOWN_WINDOW_SECONDS, math.ceil(2 * cold_start_seconds))
    while window < LONGEST_DOWN_WINDOW_SECONDS:
        yield window
        window *= 2
    yield LONGEST_DOWN_WINDOW_SECONDS


def autoscaler(targets: ScalingTargets, cold_start_seconds: float, *, keda: bool = False) -> Autoscaler:
    """The autoscaler that the chart makes of these targets."""
    kind: Literal["Pods", "External"] = "External" if keda else "Pods"
    return Autoscaler(
        targets.min_replicas,
        targets.max_replicas,
        (Metric(CONCURRENCY, targets.concurrency, kind), Metric(PENDING, targets.pending, kind)),
        scale_up_rules(),
        scale_down_rules(cold_start_seconds, targets.down_window_seconds),
    )


def window_basis(exporter: str, slo_p99_seconds: float, gates: Sequence[Gate]) -> float:
    """What the window must be long enough for: a request, or its first token where tokens are counted as they come."""
    if exporter in ("", "seconds"):
        return slo_p99_seconds
    return max((_seconds(gate) for gate in gates if gate.figure.startswith("ttft_")), default=0.0)


def _seconds(gate: Gate) -> float:
    return gate.threshold * gate.factor / 1e6


def window_seconds(slowest_p99_seconds: float = 0.0) -> int:
    """The rate window: a minute (four scrapes), or three times the p99, as counters move when a request completes."""
    return int(max(60.0, 3 * slowest_p99_seconds))
