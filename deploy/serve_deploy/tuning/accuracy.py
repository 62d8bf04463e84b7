"""Where the twin was off in the race, and why, as far as the measurements tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_deploy.arrivals.shapes import ClosedLoop, PoissonRate
from serve_deploy.reports.figures import format_change, format_time_us
from serve_deploy.tuning.candidates import INSTANCES, Candidate
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.racing import Contestant
from serve_deploy.tuning.twins import PartTwin, Twins

# What is off by less is as good as a simulation gets.
_LIMITS = {"throughput": 0.10, "p50": 0.15, "p99": 0.20}
_DIFFERENT_TIMES, _DIFFERENT_BATCHES, _UNSTEADY = 0.10, 0.15, 1.4


def explain_misses(contestants: Sequence[Contestant], twins: Twins, baseline: Candidate) -> Iterator[str]:
    """A sentence for each contestant that the twin was off for, under the load of its race."""
    for each in contestants:
        if not each.found:
            continue
        load = PoissonRate(twins.rate) if twins.rate else ClosedLoop(each.concurrency)
        simulated = twins.simulate(each.candidate, twins.server(each.candidate), load)
        if off := list(_misses(simulated, each.point)):
            reasons = list(_reasons(each, simulated, twins)) or ["requests took another time outside of the models"]
            yield f"for {each.candidate.describe(baseline)} the twin was off ({', '.join(off)}): {'; '.join(reasons)}"


def _misses(simulated: MixedPoint, measured: MixedPoint) -> Iterator[str]:
    """Such as "p99 +25 %": what was simulated, against what was measured."""
    for figure, limit in _LIMITS.items():
        one, other = (_read(point, figure) for point in (measured, simulated))
        if one and abs(other / one - 1) > limit:
            yield f"{figure} {format_change(other / one - 1)}"


def _read(point: MixedPoint, figure: str) -> float:
    times = {"p50": point.response.p50_us, "p99": point.response.p99_us}
    return times.get(figure, point.throughput)


def _reasons(contestant: Contestant, simulated: MixedPoint, twins: Twins) -> Iterator[str]:
    measured = contestant.point
    if measured.client_bound:
        yield "the load generator was the limit"
    batches = {each.model: each.average_batch_size for each in simulated.server}
    for part in twins.parts:
        said = f" of {part.name}" if part.prefix else ""
        if (longer := _longer(contestant, part)) and abs(longer - 1) > _DIFFERENT_TIMES:
            yield f"executions{said} took {longer:.2f} times as long as when they were measured"
        seen = _mean_batch(contestant, part)
        if seen and abs(batches[part.name] / seen - 1) > _DIFFERENT_BATCHES:
            yield f"batches{said} had {seen:.1f} rows, and not {batches[part.name]:.1f}"
    p99 = [each.point.response.p99_us for each in contestant.found]
    if max(p99) > _UNSTEADY * min(p99):
        yield f"the measured p99 varied from {format_time_us(min(p99))} to {format_time_us(max(p99))} between rounds"


def _longer(contestant: Contestant, part: PartTwin) -> float:
    """How much longer executions took in the race than the twin was told; 0 where there were none."""
    times = part.service(contestant.candidate).times
    busy = contestant.candidate.of_model(part.prefix).number(INSTANCES)
    executed = [each for found in contestant.found for each in found.executions if each.model == part.prefix]
    told = sum(each.count * times.at(each.batch_size, busy).mean for each in executed)
    return sum(each.count * each.mean_seconds for each in executed) / told if told else 0.0


def _mean_batch(contestant: Contestant, part: PartTwin) -> float:
    executed = [each for found in contestant.found for each in found.executions if each.model == part.prefix]
    count = sum(each.count for each in executed)
    return sum(each.batch_size * each.count for each in executed) / count if count else 0.0
