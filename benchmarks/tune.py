"""Is `serve tune` right? Against the exhaustive best on the twin, and against nothing at all on real servers.

    python benchmarks/tune.py regret [--seeds 10]     the best found, as a share of the exhaustive best, by simulation
    python benchmarks/tune.py same MODELS NAME [--runs 20]     A/A: a configuration against itself must not win
    python benchmarks/tune.py fresh MODELS NAME [--slo GATE]   a whole tuning: wall time, its share spent waiting, and
                                                           on how many fresh servers the winner holds the gates

`regret` needs no Triton: its servers are simulated, with a known truth and noisy measurements. `same` and `fresh` start
real servers, and want a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from simulated_bench import NOISE, Tried, Truth, Truths, Tuning, reached, search_all

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.loadtest import LoadTestOptions, run_loadtest
from serve_deploy.reports.gates import evaluate_gate, parse_gate
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate
from serve_deploy.tuning.results.result import TuningResult
from serve_deploy.tuning.servers.servers import local_servers
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import read_subject
from serve_deploy.tuning.tune import tune

_SHARES, _BARE = Truth(base=0.010, row=0.0005), Truth(base=0.0, row=0.002)
TRUTHS = {
    "a base to share": (Truths.of(Truth(base=0.010, row=0.0005)), ("p99<50ms",)),
    "no gain from batches": (Truths.of(Truth(base=0.0, row=0.004)), ("p99<100ms",)),
    "a lock": (Truths.of(Truth(base=0.004, row=0.001, exclusive=True)), ("p99<60ms",)),
    "memory-bound instances": (Truths.of(Truth(base=0.006, row=0.001, contention=1.9)), ("p99<60ms",)),
    "a short deadline": (Truths.of(Truth(base=0.004, row=0.0004)), ("p99<12ms",)),
    "an ensemble of the first two kinds": (Truths({"shares": _SHARES, "bare": _BARE}), ("p99<100ms",)),
    "that ensemble with a short deadline": (Truths({"shares": _SHARES, "bare": _BARE}), ("p99<40ms",)),
    "both under a mixed load": (Truths({"shares": _SHARES, "bare": _BARE}, {"shares": 3, "bare": 1}), ("p99<60ms",)),
    "both on two cores": (
        Truths({"shares": _SHARES, "bare": _BARE}, {"shares": 3, "bare": 1}, cores=2.0), ("p99<60ms",)
    ),
}  # fmt: skip
SPACE = {
    BATCH: (1, 2, 4, 8, 16, 32),
    DELAY: (0, 100, 250, 500, 1000, 2500, 5000),
    PREFERRED: (None,),
    INSTANCES: (1, 2, 4),
}
# Of two models, all combinations: fewer values of each.
SPACE_OF_EACH = {BATCH: (1, 4, 16, 32), DELAY: (0,), PREFERRED: (None,), INSTANCES: (1, 2, 4)}
USERS, FRESH, FRESH_SIMULATED, SURE = 64, 10, 40, 0.9


def measure_regret(seeds: int, names: list[str]) -> None:
    """Print, for each truth, what was found as a share of the exhaustive best, and the share of its measurements.

    The configuration is judged by its true percentiles under the best load, as the exhaustive search judges all; what
    was confirmed by what it serves under its own load, beside the best of all that hold the gates on nine fresh runs
    of ten: a load at the very gate does not.
    """
    for name in names:
        truths, slo = TRUTHS[name]
        goal = Goal("throughput", tuple(map(parse_gate, slo)))
        begun = time.monotonic()
        found = search_all(truths, goal, USERS, SPACE if len(truths.models) == 1 else SPACE_OF_EACH)
        exhaustive = time.monotonic() - begun
        best, sure = max(each.score for each in found), find_surest(truths, goal, found)
        shares, served, measured, held = [], [], [], []
        for seed in range(seeds):
            options = TuneOptions(concurrency=USERS, max_batch_size=32, max_instances=4, max_delay_us=5000, seed=seed)
            with tempfile.TemporaryDirectory() as folder:
                result = Tuning(truths, options, goal, Path(folder) / "run.jsonl")()
            shares.append(reached(truths, goal, result, USERS) / best)
            measured.append(result.effort.measurements)
            candidate, users = confirmed_load(result)
            served.append(goal.score(truths.point(candidate, users)))
            held.append(hold_simulated(truths, goal, candidate, users))
        print(
            f"{name}: {min(shares):.1%} at worst, {sum(shares) / seeds:.1%} on average of {best:,.0f}/s; "
            f"under the confirmed load {min(served) / best:.1%} at worst, and {min(served) / sure:.1%} of the "
            f"{sure:,.0f}/s that hold the gates on nine fresh runs of ten; "
            f"{max(measured)} measurements at most, exhaustive {len(found)} "
            f"({max(measured) / len(found):.1%}; {exhaustive:.0f} s); "
            f"{sum(held) / seeds:.1%} of fresh runs hold the gates, of the worst winner {min(held):.0%}",
            flush=True,
        )


def find_surest(truths: Truths, goal: Goal, found: Sequence[Tried]) -> float:
    """The best score of those that hold the gates on nine fresh runs of ten; 0 where none does."""
    for each in sorted(found, key=lambda each: -each.score):
        if each.score and hold_simulated(truths, goal, each.candidate, each.users) >= SURE:
            return each.score
    return 0.0


def confirmed_load(result: TuningResult) -> tuple[Candidate, int]:
    """What was found, and the number of users that it was found for."""
    figures = result.confirmation.winner if result.winner else result.baseline.measured
    return Candidate.of((result.winner or result.baseline).values), figures.concurrency


def hold_simulated(truths: Truths, goal: Goal, candidate: Candidate, users: int) -> float:
    """The share of fresh noisy runs in which a configuration holds the gates under a load."""
    noises = np.random.default_rng(0).lognormal(0, NOISE, FRESH_SIMULATED)
    points = [truths.point(candidate, users, noise=noise, seed=seed) for seed, noise in enumerate(noises)]
    return sum(goal.is_met(point) for point in points) / len(points)


def race_against_itself(repository: Path, model: str, runs: int) -> None:
    """Print how many of the runs found a winner between a configuration and its twin with an inert parameter."""
    winners = 0
    largest = read_model_folder(repository / model).max_batch_size
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as state:
            result = tune(
                TuneOptions(
                    repository=repository, models=(model,), vary=(("parameters.same", (1,)), (BATCH, (largest,))),
                    keep_threads=True,
                    max_batch_size=largest, max_instances=1, max_delay_us=0, finalists=1, period_seconds=0.5, seed=seed,
                    state=Path(state),
                )
            )  # fmt: skip
        winners += result.winner is not None
        print(f"run {seed + 1}: {result.verdict}: {result.explanation}", flush=True)
    print(f"{winners} false winners in {runs} runs")


def tune_whole(repository: Path, model: str, slo: tuple[str, ...]) -> None:
    """Print the wall time of a whole tuning and where it went."""
    options = TuneOptions(repository=repository, models=(model,), slo=slo, fresh=True)
    result = tune(options)
    effort = result.effort
    print(f"{result.verdict}: {result.explanation}")
    print(
        f"{effort.wall_seconds:.0f} s: {effort.measuring_seconds:.0f} s measuring, "
        f"{effort.warming_seconds:.0f} s warming up, {effort.simulating_seconds:.0f} s simulating, "
        f"{effort.waiting_seconds:.0f} s waiting "
        f"({effort.waiting_seconds / effort.wall_seconds:.0%}); {effort.measurements} measurements, "
        f"{effort.servers_started} servers started"
    )
    for note in result.notes:
        print(note)
    if result.winner and result.confirmation:
        hold_again(options, Candidate.of(result.winner.values), result.confirmation.winner.concurrency)


def hold_again(options: TuneOptions, winner: Candidate, users: int) -> None:
    """Print on how many fresh servers the winner holds the gates."""
    gates, subject = tuple(map(parse_gate, options.slo)), read_subject(options)
    held = 0
    with local_servers(subject.folders, options.runtime, options.release) as servers:
        for _ in range(FRESH):
            served = servers.serve(subject.configs(winner))
            asked = LoadTestOptions(
                endpoint=served.endpoint, model=subject.name, loads=(ClosedLoop(users),), duration_seconds=5,
                warmup_seconds=1,
            )  # fmt: skip
            (point,) = run_loadtest(asked).points
            served.close()
            held += all(evaluate_gate(gate, point).passed for gate in gates)
            print(f"{users} at a time: {point.throughput:.0f}/s, p99 {point.response.p99_us / 1e3:.1f} ms", flush=True)
    print(f"the winner holds {' and '.join(options.slo) or 'no gates'} on {held} of {FRESH} fresh servers")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    regret = commands.add_parser("regret")
    regret.add_argument("--seeds", type=int, default=10)
    regret.add_argument("--only", choices=list(TRUTHS))
    for name in ("same", "fresh"):
        command = commands.add_parser(name)
        command.add_argument("repository", type=Path)
        command.add_argument("model")
        command.add_argument("--runs", type=int, default=20)
        command.add_argument("--slo", action="append", default=[])
    asked = parser.parse_args()
    if asked.command == "regret":
        measure_regret(asked.seeds, [asked.only] if asked.only else list(TRUTHS))
    elif asked.command == "same":
        race_against_itself(asked.repository, asked.model, asked.runs)
    else:
        tune_whole(asked.repository, asked.model, tuple(asked.slo))


if __name__ == "__main__":
    main()
