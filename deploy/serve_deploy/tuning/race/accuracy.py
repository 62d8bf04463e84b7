"""Where the twin was off in the race, and why, as far as the measurements tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_deploy.calibration.accuracy import ModelAtWork, Reached, explain, list_misses
from serve_deploy.tuning.candidates.candidate import INSTANCES, Candidate
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.prediction.twins import Twins
from serve_deploy.tuning.race.racing import Contestant


def explain_misses(contestants: Sequence[Contestant], twins: Twins, baseline: Candidate) -> Iterator[str]:
    """A sentence for each contestant that the twin was off for, under the load of its race."""
    for each in contestants:
        if not each.found:
            continue
        load = twins.load(each.concurrency)
        simulated = twins.simulate(each.candidate, twins.server(each.candidate), load)
        if off := list_misses(_reached(simulated), _reached(each.point)):
            p99s = [found.point.response.p99_us for found in each.found]
            reasons = explain(each.point, _at_work(each, simulated, twins), p99s, "between rounds")
            yield f"for {each.candidate.describe(baseline)} the twin was off ({', '.join(off)}): {'; '.join(reasons)}"


def _reached(point: MixedPoint) -> Reached:
    return Reached(point.throughput, point.response.p50_us, point.response.p99_us)


def _at_work(contestant: Contestant, simulated: MixedPoint, twins: Twins) -> Iterator[ModelAtWork]:
    found = {each.model: each for each in simulated.server}
    waits = {each.model: each.queue_us for each in contestant.point.server}
    for part in twins.parts:
        yield ModelAtWork(
            executed=[
                each for found in contestant.found for each in found.executions if each.model == part.prefix
            ],
            times=part.service(contestant.candidate).times,
            busy=contestant.candidate.of_model(part.prefix).number(INSTANCES),
            simulated_batch=found[part.name].average_batch_size,
            name=part.name if part.prefix else "",
            wait_us=waits[part.name],
            simulated_wait_us=found[part.name].queue_us,
        )  # fmt: skip
