"""What a replica does with independent arrivals, by its twin: a sweep's users wait for their answers, traffic does not.

The twin's service times are those of the sweep, and it has to repeat the sweep before it is believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve_deploy.arrivals.shapes import ClosedLoop, PoissonRate
from serve_deploy.autoscaling.sweep import ERROR_FRACTION, Load, MeasuredReplica
from serve_deploy.calibration.accuracy import Reached, list_misses
from serve_deploy.calibration.swept import bearable_points, build_twin, explain_load
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import QueuePolicy, ServerModel, StreamResult, simulate

# The difference in throughput up to which the twin is believed.
BELIEVED = 0.10
_REPEATED_SECONDS = 20.0
_TABLE_REQUESTS = 20_000
_LEVELS = (0.05, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.86, 0.92, 0.96)


@dataclass(frozen=True)
class OpenReplica:
    """A replica under independent arrivals: None where there is no twin; and what is to be said of either."""

    replica: MeasuredReplica | None
    explanation: str


def replay_openly(report: LoadTestReport, loads: Sequence[Load], slo_seconds: float | None) -> OpenReplica:
    """Tabulate a replica by its twin, unless the report does not allow one or the twin does not repeat the sweep.

    `loads` are the report's usable ones up to saturation. An objective that nobody asked for (None) is one of the
    sweep's users: independent arrivals are not held to it.
    """
    if slo_seconds is None:
        return OpenReplica(None, "the objective is taken from them")
    built = build_twin(report)
    if isinstance(built, str):
        return OpenReplica(None, built)
    told = {load.users: load.asked for load in loads if load.users}
    repeated = [_Repeated.of(built, point) for point in bearable_points(report) if point.load.concurrency in told]
    if not repeated:
        return OpenReplica(None, "none of its loads of one or more users counts")
    worst = max(repeated, key=lambda each: each.miss)
    if worst.miss > BELIEVED:
        return OpenReplica(
            None,
            f"the twin's throughput is {100 * worst.miss:.0f} % off the sweep's at {told[worst.users]}: "
            f"{worst.reasons}",
        )
    replica = _tabulate(built, slo_seconds)
    if replica is None:
        return OpenReplica(None, "the twin misses the objective at any rate")
    explanation = f"by the twin, which repeats the sweep's throughput to {100 * worst.miss:.0f} %"
    off = [f"{', '.join(each.off)} at {told[each.users]}: {each.reasons}" for each in repeated if each.off]
    return OpenReplica(replica, f"{explanation}, but is off ({'; '.join(off)})" if off else explanation)


@dataclass(frozen=True)
class _Repeated:
    """A load of the sweep on the twin: by how much its throughput differs, which figures are off, and why."""

    users: int
    miss: float
    off: tuple[str, ...]
    reasons: str

    @classmethod
    def of(cls, twin: ServerModel, point: Point) -> _Repeated:
        users = point.load.concurrency or 1
        found = simulate(twin, ClosedLoop(users), seconds=_REPEATED_SECONDS, warmup_seconds=1.0)
        response = found.stream.response
        simulated = Reached(found.stream.throughput, *(response.percentile(each) * 1e6 for each in (50, 99)))
        measured = Reached(point.throughput, point.response.p50_us, point.response.p99_us)
        off = list_misses(simulated, measured)
        miss = abs(simulated.throughput / measured.throughput - 1)
        return cls(users, miss, off, "; ".join(explain_load(twin, point, found)) if off else "")


def _tabulate(twin: ServerModel, slo_seconds: float) -> MeasuredReplica | None:
    users = sum(4 * model.max_batch_size * model.instances for model in twin.models)
    patient = replace(twin, models=tuple(replace(each, policy=QueuePolicy(), policies={}) for each in twin.models))
    capacity = simulate(patient, ClosedLoop(users), seconds=_REPEATED_SECONDS).stream.throughput
    rates = [level * capacity for level in _LEVELS]
    # Traffic has many clients, and not one process that sends.
    twin = replace(twin, outside=replace(twin.outside, workers=None))
    found = [simulate(twin, PoissonRate(rate), requests=_TABLE_REQUESTS) for rate in rates]
    knee = _last_within(rates, [_p99(each.stream) for each in found], slo_seconds)
    if knee is None:
        return None
    # As the sweep counted them: of an ensemble Triton itself does not tell.
    counted = [each.stream.mean_in_flight if twin.ensembles else each.model.mean_in_flight for each in found]
    waiting = [sum(model.mean_waiting for model in each.models) for each in found]
    queue = tuple(zip(rates, waiting, strict=True))
    return MeasuredReplica(tuple(zip(rates, counted, strict=True)), knee, queue)


def _p99(found: StreamResult) -> float:
    """Infinite where too many are refused: those that are answered wait for none of them."""
    return math.inf if found.rejected > ERROR_FRACTION * found.sent else found.response.percentile(99)


def _last_within(rates: Sequence[float], p99s: Sequence[float], slo_seconds: float) -> float | None:
    """The highest rate whose p99 keeps the objective, between two rates on a straight line; None where none does."""
    within = [index for index, p99 in enumerate(p99s) if p99 <= slo_seconds]
    if not within or within[-1] == len(rates) - 1:
        return rates[-1] if within else None
    last = within[-1]
    share = (slo_seconds - p99s[last]) / (p99s[last + 1] - p99s[last])
    return rates[last] + share * (rates[last + 1] - rates[last])
