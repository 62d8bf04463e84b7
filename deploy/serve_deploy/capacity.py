"""From a load-test sweep to autoscaling targets; every number carries where it came from.

Rates are requests per second and concurrencies requests in flight, of one replica: what was measured is one replica.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from serve_deploy.autoscaling import ScalingTargets
from serve_deploy.errors import InvalidModelError, ThresholdError, UsageError
from serve_deploy.loadtest.report import LoadTestReport, Point

CLIENT_BOUND_DEVIATION = 0.10
ERROR_FRACTION = 0.001
SMALLEST_UTILISATION, LARGEST_UTILISATION = 0.4, 0.8
HPA_TOLERANCE = 0.10
SYNC_SECONDS = 15.0
PEAK_HEADROOM = 1.25
# A doubling within ten minutes: faster than daily traffic, slower than a sudden event.
DEFAULT_GROWTH_PER_SECOND = 1 / 600


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a sweep cannot tell: the objective, the delays, and the traffic to come (None: not known)."""

    slo_p99_seconds: float | None = None
    cold_start_seconds: float = 120.0
    cold_start_origin: str = "assumed; measure it and say so"
    scrape_seconds: float = 15.0
    rule_seconds: float = 15.0
    growth_per_second: float = DEFAULT_GROWTH_PER_SECOND
    base_rate: float | None = None
    peak_rate: float | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None


@dataclass(frozen=True)
class Derived:
    """One number, its unit, and a sentence on where it came from."""

    name: str
    value: float
    unit: str
    origin: str


@dataclass(frozen=True)
class Load:
    """One load of the sweep, its repeats reduced to their medians; concurrency and pending are means over time.

    `server_side` says that concurrency is the server's account (what the autoscaler will see), not the client's,
    which also counts requests on the wire.
    """

    asked: str
    rate: float
    concurrency: float
    p99_seconds: float
    mean_seconds: float
    pending: float | None
    server_side: bool


@dataclass(frozen=True)
class Capacity:
    """The targets, how each number was derived, and which points did not count."""

    model: str
    targets: ScalingTargets
    knee_rate: float
    utilisation: float
    target_rate: float
    slo_p99_seconds: float
    derived: tuple[Derived, ...]
    dropped: tuple[str, ...]


def check_origin(report: LoadTestReport, configurations: Mapping[str, tuple[str, int | None]]) -> None:
    """Refuse a report of a model that is not among these, or was configured otherwise.

    `configurations` gives each model's digest, and its instances where the configuration names them.
    """
    target = report.target
    if target.model not in configurations:
        raise InvalidModelError(
            f"the capacity report measured model {target.model}; the repository has {', '.join(configurations)}",
            hint="measure one of these models: serve loadtest URL -m MODEL",
        )
    digest, instances = configurations[target.model]
    again = "serve the repository as it is now and measure again: batching and instances change the capacity"
    if target.model_config_sha256 != digest:
        raise InvalidModelError(
            f"the capacity report measured {target.model} in another configuration than the repository's config.pbtxt",
            hint=again,
        )
    if instances is not None and target.instances is not None and instances != target.instances:
        raise InvalidModelError(
            f"the capacity report measured {target.model} with {target.instances} instances;"
            f" the repository's config.pbtxt has {instances}",
            hint=again,
        )


def derive_capacity(
    report: LoadTestReport, circumstances: Circumstances, lowered: tuple[float, str] | None = None
) -> Capacity:
    """Find the knee under the objective and set the targets below it; raises where the sweep cannot tell.

    `lowered` is a utilisation in place of the computed one, where a replay has shown that one to be too high, and why.
    """
    loads, dropped = usable_loads(report)
    if len(loads) < 2:
        raise UsageError(
            f"the capacity report has {len(loads)} usable load(s): {'; '.join(dropped) or 'it is no sweep'}",
            hint="sweep over several loads: serve loadtest URL --concurrency 1,2,4,8,16 --save report.json",
        )
    slo, slo_origin = _objective(loads, circumstances)
    knee = find_knee(loads, slo)
    reaction = reaction_seconds(circumstances)
    share = lowered[0] if lowered else utilisation(circumstances.growth_per_second, reaction)
    target_rate = share * knee.rate
    concurrency = concurrency_at(rising_branch(loads), target_rate)
    pending, pending_origin = pending_guard(loads, knee)
    least, least_origin = _min_replicas(circumstances, target_rate)
    most, most_origin = _max_replicas(circumstances, target_rate, least)
    if least > most:
        raise UsageError(f"min replicas {least} ({least_origin}) exceeds max replicas {most} ({most_origin})")
    derived = (
        Derived("slo_p99", slo, "s", slo_origin),
        Derived("knee_rate", knee.rate, "requests/s", f"highest throughput with p99 <= objective, at {knee.asked}"),
        Derived(
            "reaction", reaction, "s",
            f"scrape {circumstances.scrape_seconds:g} + rule {circumstances.rule_seconds:g} + sync {SYNC_SECONDS:g}"
            f" + cold start {circumstances.cold_start_seconds:g} ({circumstances.cold_start_origin})",
        ),
        Derived(
            "utilisation", share, "",
            lowered[1] if lowered else
            f"1/(1 + g*T) within {SMALLEST_UTILISATION}-{LARGEST_UTILISATION}, with the load growing by"
            f" g = {circumstances.growth_per_second * 60:.1%} a minute; / {1 + HPA_TOLERANCE} for the HPA's tolerance",
        ),
        Derived("target_rate", target_rate, "requests/s", "utilisation * knee"),
        Derived(
            "target_concurrency", concurrency, "requests in flight",
            f"measured at the target rate, between points, {'by the server' if knee.server_side else 'by the client'}",
        ),
        Derived("pending_guard", pending, "requests waiting", pending_origin),
        Derived("min_replicas", least, "", least_origin),
        Derived("max_replicas", most, "", most_origin),
    )  # fmt: skip
    targets = ScalingTargets(concurrency=concurrency, pending=pending, min_replicas=least, max_replicas=most)
    return Capacity(report.target.model, targets, knee.rate, share, target_rate, slo, derived, dropped)


def reaction_seconds(circumstances: Circumstances) -> float:
    """From a rise of the load to a new replica that serves: scrape, rule, the HPA's sync, cold start."""
    seen = circumstances.scrape_seconds + circumstances.rule_seconds + SYNC_SECONDS
    return seen + circumstances.cold_start_seconds


def usable_loads(report: LoadTestReport) -> tuple[list[Load], tuple[str, ...]]:
    """The loads whose measurement is the server's, by rising rate, and why others were dropped."""
    kept: dict[str, list[Point]] = defaultdict(list)
    dropped = []
    for point in report.points:
        reason = _unusable(point)
        if reason:
            dropped.append(f"{_asked(point)}: {reason}")
        else:
            kept[_asked(point)].append(point)
    loads = [_reduce(asked, points, report.target.model) for asked, points in kept.items()]
    return sorted(loads, key=lambda load: load.rate), tuple(dropped)


def rising_branch(loads: Sequence[Load]) -> list[Load]:
    """The loads up to saturation, by rising concurrency: beyond it a server may serve less with more in flight."""
    rising: list[Load] = []
    for load in sorted(loads, key=lambda load: load.concurrency):
        if not rising or load.rate > rising[-1].rate:
            rising.append(load)
    return rising


def find_knee(loads: Sequence[Load], slo_seconds: float) -> Load:
    """The load of the highest throughput whose p99 keeps the objective; ThresholdError where none does."""
    within = [load for load in loads if load.p99_seconds <= slo_seconds]
    if not within:
        best = min(loads, key=lambda load: load.p99_seconds)
        raise ThresholdError(
            f"no measured load keeps p99 <= {slo_seconds * 1e3:g} ms; the best is {best.p99_seconds * 1e3:.1f} ms"
            f" at {best.asked}",
            hint="more replicas cannot mend this: relax --slo, or make the model faster",
        )
    return max(within, key=lambda load: load.rate)


def utilisation(growth_per_second: float, reaction_seconds: float) -> float:
    """The share of the knee to run at, so that growth during the reaction still fits below it."""
    share = 1 / (1 + growth_per_second * reaction_seconds)
    return min(max(share, SMALLEST_UTILISATION), LARGEST_UTILISATION) / (1 + HPA_TOLERANCE)


def concurrency_at(loads: Sequence[Load], rate: float) -> float:
    """Requests in flight measured at a rate: between the two points beside it, from nothing below the first."""
    below = max((load for load in loads if load.rate <= rate), key=lambda load: load.rate, default=None)
    above = min((load for load in loads if load.rate >= rate), key=lambda load: load.rate)
    low_rate, low = (below.rate, below.concurrency) if below else (0.0, 0.0)
    if above.rate == low_rate:
        return above.concurrency
    return low + (above.concurrency - low) * (rate - low_rate) / (above.rate - low_rate)


def pending_guard(loads: Sequence[Load], knee: Load) -> tuple[float, str]:
    """Requests waiting at the knee, at least 1 so that a short burst does not count as a queue."""
    if knee.pending is not None:
        waiting, origin = knee.pending, "rate * queue time at the knee (Little's law), of every model involved"
    else:
        fastest = min(load.mean_seconds for load in loads)
        waiting = knee.rate * (knee.mean_seconds - fastest)
        origin = "rate * (response time at the knee - at the lightest load): the server's queue time was not recorded"
    return max(1.0, waiting), origin if waiting >= 1 else f"{origin} is {waiting:.2f}; at least 1"


def _unusable(point: Point) -> str | None:
    failed = point.failed + point.timed_out
    if point.succeeded == 0:
        return "no request succeeded"
    if failed / point.sent > ERROR_FRACTION:
        return f"{failed / point.sent:.2%} of the requests failed"
    if point.client_bound:
        return f"client-bound ({', '.join(point.client_bound_reasons) or 'said the generator'})"
    if point.load.mode == "closed" and point.load.concurrency:
        asked = point.load.concurrency
        busy = point.request_rate * point.response.mean_us / 1e6
        if abs(asked - busy) / asked > CLIENT_BOUND_DEVIATION:
            return f"client-bound (asked for {asked} in flight, had {busy:.1f})"
    return None


def _asked(point: Point) -> str:
    load = point.load
    size = f", batch {load.batch_size}" if load.batch_size > 1 else ""
    if load.mode == "closed":
        return f"concurrency {load.concurrency}{size}"
    return f"{load.request_rate:g} requests/s{size}"


def _reduce(asked: str, points: Sequence[Point], model: str) -> Load:
    served = [concurrency for point in points if (concurrency := _served_concurrency(point, model))]
    pendings = [pending for point in points if (pending := _pending(point)) is not None]
    return Load(
        asked,
        rate=median(point.request_rate for point in points),
        concurrency=median(served or [point.mean_in_flight for point in points]),
        p99_seconds=median(point.response.p99_us for point in points) / 1e6,
        mean_seconds=median(point.response.mean_us for point in points) / 1e6,
        pending=median(pendings) if pendings else None,
        server_side=bool(served),
    )


def _served_concurrency(point: Point, model: str) -> float | None:
    """Requests in flight inside the server by Little's law; None for an ensemble, whose members hold its times."""
    for stats in point.server:
        if stats.model == model:
            busy_us = stats.queue_us + stats.compute_input_us + stats.compute_infer_us + stats.compute_output_us
            return point.request_rate * busy_us / 1e6 or None
    return None


def _pending(point: Point) -> float | None:
    if point.server:
        return sum(stats.requests * stats.queue_us for stats in point.server) / 1e6 / point.duration_seconds
    return point.pending


def _objective(loads: Sequence[Load], circumstances: Circumstances) -> tuple[float, str]:
    if circumstances.slo_p99_seconds is not None:
        return circumstances.slo_p99_seconds, "--slo"
    lightest = loads[0]
    return 2 * lightest.p99_seconds, f"no --slo: twice the p99 of the lightest load ({lightest.asked})"


def _min_replicas(circumstances: Circumstances, target_rate: float) -> tuple[int, str]:
    if circumstances.min_replicas is not None:
        return circumstances.min_replicas, "--min"
    if circumstances.base_rate is None:
        return 2, "two, so that one may go (no --base-rate)"
    needed = math.ceil(circumstances.base_rate / target_rate)
    return max(2, needed), f"max(2, {circumstances.base_rate:g} base / {target_rate:.1f} target requests/s)"


def _max_replicas(circumstances: Circumstances, target_rate: float, least: int) -> tuple[int, str]:
    if circumstances.max_replicas is not None:
        return circumstances.max_replicas, "--max"
    if circumstances.peak_rate is None:
        return max(4 * least, 8), "four times min, at least 8 (no --peak-rate)"
    needed = math.ceil(PEAK_HEADROOM * circumstances.peak_rate / target_rate)
    return max(
        least, needed
    ), f"{PEAK_HEADROOM} * {circumstances.peak_rate:g} peak / {target_rate:.1f} target requests/s"
