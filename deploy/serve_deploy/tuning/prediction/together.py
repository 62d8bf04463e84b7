"""What models cost that run together, from measurements of each alone and of all at once. Pure.

Alone each was measured for its execution times. Together, one user shows what a request costs outside of the models,
and many show how much longer executions take while those of other models run. One number stands for that: how many
executions the machine carries at full pace. It is taken to slow all alike, whatever each does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, Value
from serve_deploy.tuning.measured import Measured, MixedPoint
from serve_deploy.tuning.prediction.ranking import Space
from serve_deploy.tuning.prediction.twins import PartTwin, Twins
from serve_deploy.twin import Outside, Times

# Executions that take so much longer are slowed by more than chance.
SLOWER = 1.05
_MOST_USERS = 256


# Fewer requests say little of what one costs.
_FEWEST = 10

# Measures a candidate with so many users, for as long as the point that is expected asks for; and what for.
MeasureUsers = Callable[[Candidate, int, MixedPoint, str], Measured]


@dataclass(frozen=True)
class Together:
    """The candidate that was measured with all its models, at so many users; in inferences/s what the twin says of it.

    `slowdown`: how many times as long executions took as alone.
    """

    candidate: Candidate
    users: int
    measured: float
    simulated: float
    slowdown: float


def fullest(spaces: Mapping[str, Space]) -> Candidate:
    """The most instances and the largest batches that are tried of the files' settings: everything at work."""
    found = []
    for model, space in spaces.items():
        own = space.baseline
        values: dict[str, Value] = {INSTANCES: max(space.instances.get(own.setting, ()), default=own[INSTANCES])}
        if space.batch_sizes:
            values |= {BATCH: max(space.batch_sizes), DELAY: 0, PREFERRED: None}
        found.append(own.changed(values).placed(model))
    return Candidate.join(found)


def measure_together(twins: Twins, candidate: Candidate, measure: MeasureUsers) -> tuple[Twins, Together]:
    """Measure a candidate with one user and with many; the twins of the parts alone become those of all together."""

    def simulate(each: Twins, users: int) -> MixedPoint:
        return each.simulate(candidate, each.server(candidate), ClosedLoop(users))

    bare = replace(twins, outside=Outside())
    busy = sum(2 * model.max_batch_size * model.instances for model in twins.server(candidate).models)
    users = max(2, min(twins.limit, _MOST_USERS, busy))
    inside = simulate(bare, 1)
    alone = measure(candidate, 1, inside, "measuring all")
    if alone.point.succeeded < _FEWEST:
        alone = measure(candidate, 1, alone.point, "measuring all again")
    full = measure(candidate, users, simulate(bare, users), "measuring all")
    executed = [_Executed.of(part, twins, candidate, full) for part in twins.parts]
    slowdown = sum(each.busy for each in executed) / (sum(each.usual for each in executed) or 1.0)
    seconds = max(0.0, _median_us(alone.point) - _median_us(inside)) / 1e6
    fitted = replace(
        twins,
        outside=_outside(twins, candidate, seconds),
        parts=tuple(replace(part, cores_used=1.0) for part in twins.parts),
        cores=max(1.0, sum(each.unshared for each in executed)) if slowdown > SLOWER else None,
    )
    simulated = simulate(fitted, users).throughput
    return fitted, Together(candidate, users, full.point.throughput, simulated, slowdown)


def _outside(twins: Twins, candidate: Candidate, seconds: float) -> Outside:
    """What a request costs outside of the models; no more pass than did where that limited one of them alone."""
    alone = [part.service(candidate).outside for part in twins.parts]
    most = max((each.workers / each.times.mean for each in alone if each.workers and each.times.mean), default=0.0)
    if not seconds or not most:
        return Outside(times=Times.constant(seconds))
    workers = max(1, round(most * seconds))
    return Outside(times=Times.constant(workers / most), workers=workers)


def _median_us(point: MixedPoint) -> float:
    """The median response; of a mix the mean of each model's, by their requests. A few stalls do not move it."""
    parts = point.parts or (point,)
    sent = sum(part.response.count for part in parts)
    return sum(part.response.p50_us * part.response.count for part in parts) / sent if sent else 0.0


@dataclass(frozen=True)
class _Executed:
    """Of one model, the mean number of executions at a time, and what it would be at the pace of the model alone.

    `usual`: with as many instances; `unshared`: with one.
    """

    busy: float
    usual: float
    unshared: float

    @classmethod
    def of(cls, part: PartTwin, twins: Twins, candidate: Candidate, full: Measured) -> _Executed:
        service, instances = part.service(candidate), part.serve(candidate).instances
        times, largest = service.times, service.largest_batch
        seen = [each for each in full.executions if each.model == part.prefix]
        rows = sum(each.batch_size * each.count for each in seen)
        if not rows:
            return cls(0.0, 0.0, 0.0)

        def seconds_at(executing: int) -> float:
            levels = min(executing, times.levels[-1])
            return sum(each.count * times.at(min(each.batch_size, largest), levels).mean for each in seen)

        # Executions a second of each, by the rows that pass.
        rate = full.point.throughput * _visits(twins)[part.name] / rows
        took = sum(each.count * each.mean_seconds for each in seen)
        return cls(rate * took, rate * seconds_at(instances), rate * seconds_at(1))


def _visits(twins: Twins) -> Counter[str]:
    """How often each model executes a row of the mean request."""
    visits: Counter[str] = Counter()
    steps = {ensemble.name: [step.model for step in ensemble.steps] for ensemble in twins.ensembles}
    for target, weight in twins.targets.items():
        for model in steps.get(target, [target]):
            visits[model] += weight / sum(twins.targets.values())  # type: ignore[assignment]
    return visits
