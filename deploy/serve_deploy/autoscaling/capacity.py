"""From a load-test sweep to autoscaling targets; every number carries where it came from.

Rates are requests per second and concurrencies requests in flight, of one replica: what was measured is one replica.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from serve_deploy.autoscaling.derived import Derived
from serve_deploy.autoscaling.hpa import SYNC_SECONDS, TOLERANCE
from serve_deploy.autoscaling.pod import MeasuredPod
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import RULE_SECONDS, SCRAPE_SECONDS, ScalingTargets
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.reports.figures import format_plainly
from serve_deploy.reports.gates import Gate

SMALLEST_UTILISATION, LARGEST_UTILISATION = 0.4, 0.8
PEAK_HEADROOM = 1.25
# A tenth of the base a minute, doubling it within ten: faster than daily traffic, slower than a sudden event.
DEFAULT_GROWTH_PER_SECOND = 0.1 / 60


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a sweep cannot tell: the objectives, the cold start, and the traffic to come (None: not known).

    `gates` are objectives besides the p99. `exporter` is what counts requests in flight: the chart's name for that of
    decoupled models, or "" for Triton.
    """

    slo_p99_seconds: float | None = None
    gates: tuple[Gate, ...] = ()
    exporter: str = ""
    cold_start_seconds: float = 120.0
    cold_start_origin: str = "assumed: measure it and set it"
    growth_per_second: float = DEFAULT_GROWTH_PER_SECOND
    base_rate: float | None = None
    peak_rate: float | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None

    @property
    def reaction_seconds(self) -> float:
        """From a rise of the load to a new replica that serves: scrape, rule, the HPA's sync, cold start."""
        return SCRAPE_SECONDS + RULE_SECONDS + SYNC_SECONDS + self.cold_start_seconds


@dataclass(frozen=True)
class Capacity:
    """The targets, the replica that they are for, how each number was derived, and which points did not count."""

    targets: ScalingTargets
    replica: MeasuredReplica
    utilisation: float
    target_rate: float
    slo_p99_seconds: float
    derived: tuple[Derived, ...]
    dropped: tuple[str, ...]


class Measured(Protocol):
    """A model as it was measured, by which a repository is recognised."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def model_config_sha256(self) -> str:
        """The digest of its configuration."""

    @property
    def instances(self) -> int | None:
        """How many there were; None where that is not known."""


def check_origin(
    target: Measured,
    configurations: Mapping[str, tuple[str | None, int | None] | None],
    source: str = "the capacity report",
) -> None:
    """Refuse a measurement of a model that is not among these, or was configured otherwise.

    `configurations` gives each model's digest (None where Triton completes it), and its instances where they are named;
    None for a model whose backend always completes it, which is not compared.
    """
    measured = f"{source} measured {target.model}"
    if target.model not in configurations:
        raise InvalidModelError(
            f"{measured}; the repository has {', '.join(configurations)}",
            hint="measure one of these models: serve loadtest URL -m MODEL",
        )
    configuration = configurations[target.model]
    if configuration is None:
        return
    digest, instances = configuration
    again = "serve the repository as it is now and measure again: batching and instances change the capacity"
    if digest is None:
        raise InvalidModelError(
            f"config.pbtxt of {target.model} leaves tensors to Triton's auto-complete: no report can be matched to it",
            hint="write out the whole configuration, as serve package does",
        )
    if target.model_config_sha256 != digest:
        raise InvalidModelError(f"{measured} with another configuration than the repository's config.pbtxt", hint=again)
    if instances is not None and target.instances is not None and instances != target.instances:
        raise InvalidModelError(
            f"{measured} with {target.instances} instances; the repository's config.pbtxt has {instances}", hint=again
        )


def derive_capacity(
    pod: MeasuredPod,
    circumstances: Circumstances,
    lowered: tuple[float, str] | None = None,
    held: tuple[int, str] | None = None,
) -> Capacity:
    """Set the targets below the pod's knee; UsageError where the replicas contradict each other.

    `lowered` is a utilisation in place of the computed one, where a replay has shown that one to be too high, and why;
    `held` is the seconds that a replica must not have been needed for, where the usual ones were too few, and why.
    """
    share, share_origin = lowered or _choose_utilisation(circumstances)
    rate = share * pod.replica.knee_rate
    concurrency = pod.replica.in_flight(rate)
    (least, least_origin), (most, most_origin) = choose_replicas(circumstances, rate)
    derived = (
        Derived("slo_p99", pod.slo_p99_seconds, "s", pod.slo_origin),
        *pod.derived,
        _explain_reaction(circumstances),
        Derived("utilisation", share, "", share_origin),
        Derived("target_rate", rate, "requests/s", "utilisation * knee"),
        Derived(
            "target_concurrency", concurrency, "requests in flight",
            f"measured around the target rate, {pod.measured_by}",
        ),
        Derived("pending_guard", pod.pending, "requests waiting", pod.pending_origin),
        Derived("min_replicas", least, "", least_origin),
        Derived("max_replicas", most, "", most_origin),
        *([Derived("down_window", held[0], "s", held[1])] if held else []),
    )  # fmt: skip
    targets = ScalingTargets(
        concurrency=concurrency, pending=pod.pending, min_replicas=least, max_replicas=most,
        down_window_seconds=held[0] if held else None,
    )  # fmt: skip
    return Capacity(targets, pod.replica, share, rate, pod.slo_p99_seconds, derived, pod.dropped)


def choose_replicas(circumstances: Circumstances, target_rate: float) -> tuple[tuple[int, str], tuple[int, str]]:
    """The fewest and the most replicas, each with its origin; UsageError where they contradict each other."""
    least, least_origin = _min_replicas(circumstances, target_rate)
    most, most_origin = _max_replicas(circumstances, target_rate, least)
    if least > most:
        raise UsageError(
            f"min replicas {least} ({least_origin}) exceeds max replicas {most} ({most_origin})",
            hint="lower `min_replicas` or raise `max_replicas`",
        )
    return (least, least_origin), (most, most_origin)


def utilisation(growth_per_second: float, reaction_seconds: float) -> float:
    """The share of the knee to run at, so that growth during the reaction still fits below it."""
    share = 1 / (1 + growth_per_second * reaction_seconds)
    return min(max(share, SMALLEST_UTILISATION), LARGEST_UTILISATION) / (1 + TOLERANCE)


def _choose_utilisation(circumstances: Circumstances) -> tuple[float, str]:
    growth = circumstances.growth_per_second
    return utilisation(growth, circumstances.reaction_seconds), (
        f"1/(1 + g*T) within {SMALLEST_UTILISATION}-{LARGEST_UTILISATION}, with the load growing by"
        f" g = {format_plainly(growth * 6000)} % a minute; / {1 + TOLERANCE} for the HPA's tolerance"
    )


def _explain_reaction(circumstances: Circumstances) -> Derived:
    origin = (
        f"scrape {SCRAPE_SECONDS:g} + rule {RULE_SECONDS:g} + sync {SYNC_SECONDS}"
        f" + cold start {circumstances.cold_start_seconds:g} ({circumstances.cold_start_origin})"
    )
    return Derived("reaction", circumstances.reaction_seconds, "s", origin)


def _min_replicas(circumstances: Circumstances, target_rate: float) -> tuple[int, str]:
    if circumstances.min_replicas is not None:
        return circumstances.min_replicas, "`min_replicas`"
    if circumstances.base_rate is None:
        return 2, "two, so that one may go (no `base_rate`)"
    needed = math.ceil(circumstances.base_rate / target_rate)
    return max(
        2, needed
    ), f"max(2, {format_plainly(circumstances.base_rate)} base / {target_rate:,.1f} target requests/s)"


def _max_replicas(circumstances: Circumstances, target_rate: float, least: int) -> tuple[int, str]:
    if circumstances.max_replicas is not None:
        return circumstances.max_replicas, "`max_replicas`"
    if circumstances.peak_rate is None:
        return max(4 * least, 8), "four times min, at least 8 (no `peak_rate`)"
    needed = math.ceil(PEAK_HEADROOM * circumstances.peak_rate / target_rate)
    origin = f"{PEAK_HEADROOM} * {format_plainly(circumstances.peak_rate)} peak / {target_rate:,.1f} target requests/s"
    return max(least, needed), origin if needed >= least else f"as many as min, for {origin} is {needed}"
