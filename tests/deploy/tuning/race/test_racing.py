"""The race of configurations whose servers are simulated: who falls, and who has to run again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_bench import BASELINE, SimulatedBench, SimulatedServers, Truth, Truths

from serve_deploy.progress import silent
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.measured import Measured
from serve_deploy.tuning.measuring.checkpoint import Checkpoint
from serve_deploy.tuning.race.race import Race, Runner
from serve_deploy.tuning.race.racing import Contestant, Racing
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.twin import QueuePolicy, ServedModel

OTHER = Candidate.of({**dict(BASELINE.values), BATCH: 2})


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
    twins: Any = SimpleNamespace(rate=rate)
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
