"""The race of configurations whose servers are simulated: who falls, and who has to run again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_bench import BASELINE, SimulatedBench, SimulatedServers, Truth, Truths

from serve_deploy.arrivals.shapes import PoissonRate
from serve_deploy.progress import silent
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.measured import Measured
from serve_deploy.tuning.measuring.checkpoint import Checkpoint
from serve_deploy.tuning.prediction.twins import Prediction, Twins
from serve_deploy.tuning.race.conclusion import (
    describe_contestant,
    explain_limits,
    judge_confirmation,
    reach_verdict,
)
from serve_deploy.tuning.race.confirming import Confirming
from serve_deploy.tuning.race.race import Race, Runner
from serve_deploy.tuning.race.racing import Contestant, Racing
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.twin import QueuePolicy, ServedModel

OTHER = BASELINE.changed({BATCH: 2})


@dataclass(frozen=True)
class Refusing(Truth):
    """One that lets two requests wait where its batches are small."""

    def model(self, candidate: Candidate, noise: float = 1.0, name: str = "m") -> ServedModel:
        """With a queue that is soon full."""
        policy = QueuePolicy(max_queue_size=2 if candidate == OTHER else 0)
        return replace(super().model(candidate, noise, name), policy=policy)


def _racing(truths: Truths, goal: Goal, state: Path, rate: float | None = None) -> tuple[Racing, list[Contestant]]:
    workers: Any = None
    bench = SimulatedBench(truths.subject(), SimulatedServers(truths), Checkpoint(state / "run.jsonl"), workers, silent)
    twins = Twins(parts=(), targets={}, goal=goal, limit=4, rate=rate)
    racing = Racing(bench, bench.subject, TuneOptions(max_rounds=6), goal, twins, {})
    told: Any = SimpleNamespace(point=truths.point(BASELINE, 1))
    return racing, [Contestant(each, told, 4) for each in (BASELINE, OTHER)]


def test_who_refuses_requests_is_not_quicker(tmp_path: Path) -> None:
    """Those that are answered have the shorter p99, as they wait for none of the refused."""
    racing, (baseline, other) = _racing(Truths.of(Refusing(0.02, 0.0005)), Goal("latency"), tmp_path, rate=120.0)
    race = racing.race(baseline, [other])
    assert race.winner is None
    (fallen,) = race.runners
    assert fallen.standing == "failed"
    assert "of its requests failed, 0 % with the current configuration" in fallen.reason


def test_one_round_says_nothing_of_the_next(tmp_path: Path) -> None:
    """A race that ends just after a change of load has a single round under the last one."""
    truths = Truths.of(Truth(0.01, 0.001))
    racing, (baseline, other) = _racing(truths, Goal("throughput", (parse_gate("p99<1s"),)), tmp_path)
    baseline.fits, other.found = False, [Measured(point=truths.point(OTHER, 4))]
    assert racing.pick(baseline, [other], Race(None, (Runner(0, [0.1]),), 6)) == [other]


@pytest.mark.parametrize("rate", [None, 50.0])
def test_rounds_have_arrivals_of_their_own(tmp_path: Path, rate: float | None) -> None:
    """What holds for one sequence of arrivals need not hold for the next; contestants of one round share theirs."""
    racing, (baseline, other) = _racing(Truths.of(Truth(0.01, 0.001)), Goal("throughput"), tmp_path, rate)
    seeds: dict[str, set[int]] = {}
    bench: Any = racing.bench
    measure = bench._measure

    def note(*args: Any, seed: int, **how: Any) -> Measured:
        seeds.setdefault(bench._doing.rpartition("racing")[2], set()).add(seed)
        return measure(*args, seed=seed, **how)

    bench._measure = note
    racing.race(baseline, [other])
    assert all(len(each) == 1 for each in seeds.values())
    assert len(set.union(*seeds.values())) == len(seeds) >= 4


def test_the_load_generators_limit_is_said() -> None:
    """In most rounds it was: figures are those of the generator, and alike for all."""
    point = Truths.of(Truth(0.01, 0.001)).point(BASELINE, 4)
    bound = point.model_copy(
        update={"client_bound": True, "client_bound_reasons": ("it used 97 % of a core; use more",)}
    )
    told: Any = None
    often, seldom = (
        Contestant(each, told, 4, found=[Measured(point=one) for one in points])
        for each, points in ((BASELINE, (bound, bound, point)), (OTHER, (bound, point, point)))
    )
    (note,) = explain_limits([often, seldom], BASELINE)
    assert note == (
        "the load generator was the limit (it used 97 % of a core) for current configuration: "
        "servers may serve more than was measured, and differ more"
    )
    assert list(explain_limits([seldom], BASELINE)) == []


def test_a_current_configuration_that_fails_requests_says_so(tmp_path: Path) -> None:
    """Its throughput and its p99 are those of the others alone."""
    truths = Truths.of(Refusing(0.02, 0.0005))
    racing, (_, other) = _racing(truths, Goal("throughput"), tmp_path, rate=120.0)
    other.found = [racing.bench.measure(OTHER, PoissonRate(120.0), "racing", seconds=1.0)]
    twins: Any = SimpleNamespace(rate=120.0, curve=lambda _: ())
    other.prediction = Prediction(OTHER, 0, other.found[0].point, 1.0, True)
    row = describe_contestant(other, None, Goal("throughput"), twins, OTHER)
    assert "of its requests failed" in row.reason


@pytest.mark.parametrize(("gain", "holds"), [(0.01, False), (0.05, True)])
def test_a_gain_that_fresh_servers_do_not_show_is_not_confirmed(gain: float, holds: bool) -> None:
    """The race had one server of each, and one may be quicker than another of the same configuration."""
    point = Truths.of(Truth(0.01, 0.001)).point(BASELINE, 4)
    more = point.model_copy(update={"throughput": point.throughput * (1 + gain)})
    told: Any = None
    own, other = (Contestant(BASELINE, told, 4, found=[Measured(point=each)] * 3) for each in (point, more))
    other.candidate = OTHER
    confirmed = judge_confirmation(own, other, Goal("throughput"), None, 0.03)
    assert confirmed.holds == holds
    verdict, explanation = reach_verdict(
        Goal("throughput"), own, [other], Race(0, (Runner(0),), 4), confirmed, other, 0.03
    )
    assert verdict == ("better" if holds else "not confirmed")
    assert ("3 % is the least worth a change" in explanation) != holds


def test_a_winner_that_is_no_better_on_fresh_servers_gives_way_to_the_next(tmp_path: Path) -> None:
    """The first one had a quick server in the race; the second one's gain is its own."""
    third = BASELINE.changed({BATCH: 8})
    point = Truths.of(Truth(0.01, 0.001)).point(BASELINE, 4)
    racing, (baseline, other) = _racing(Truths.of(Truth(0.01, 0.001)), Goal("throughput"), tmp_path)
    winners = [other, Contestant(third, other.prediction, 4)]

    def seen(gain: float) -> Measured:
        return Measured(point=point.model_copy(update={"throughput": point.throughput * (1 + gain)}))

    fresh = {BASELINE: 0.0, OTHER: 0.01, third: 0.06}
    for each, gain in zip((baseline, *winners), (0.0, 0.09, 0.06), strict=True):
        each.found = [seen(gain)] * 4

    class Fresh(Confirming):
        def _measure(self, contestant: Contestant) -> None:
            contestant.found.append(seen(fresh[contestant.candidate]))

    pair = Fresh(racing.bench, racing.options, racing.goal, racing.twins, {}).confirm(baseline, winners)
    assert pair
    assert pair[1].candidate == third


@pytest.mark.parametrize(("gain", "is_open"), [(1.0, True), (0.01, False)])
def test_a_gain_that_was_not_decided_is_no_verdict_on_it(gain: float, is_open: bool) -> None:
    """Four noisy rounds that gained 100 % do not say that nothing is better; ones that gained 1 % nearly do."""
    told: Any = None
    own, other = Contestant(BASELINE, told), Contestant(OTHER, told)
    race = Race(None, (Runner(0, [math.log1p(gain)] * 4),), 4)
    verdict, explanation = reach_verdict(Goal("throughput"), own, [other], race, None, None, 0.03)
    assert (verdict, "more rounds may decide it" in explanation) == ("nothing better", is_open)
