"""The race decides what is real, and nothing else."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from serve_deploy.tuning.candidates.candidate import Candidate
from serve_deploy.tuning.measured import Fallen
from serve_deploy.tuning.race.conclusion import reach_verdict
from serve_deploy.tuning.race.race import ALPHA, FEWEST_ROUNDS, Restarted, e_value, run_race
from serve_deploy.tuning.race.racing import Contestant
from serve_deploy.tuning.task.objective import Goal


def _noisy(gains: tuple[float, ...], noise: float, seed: int):
    """Scores whose logarithms have a normal noise."""
    generator = random.Random(seed)

    def measure(number: int | None, _round: int) -> float:
        return (1 + (0 if number is None else gains[number])) * math.exp(generator.gauss(0, noise))

    return measure


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_equal_contestants_have_no_winner(noise: float) -> None:
    """Of 200 A/A races with three runners, far fewer than α find one."""
    winners = [
        run_race(_noisy((0.0, 0.0, 0.0), noise, seed), 3, min_gain=0.03, max_rounds=20, seed=seed).winner
        for seed in range(200)
    ]
    assert sum(winner is not None for winner in winners) <= 2


def test_optional_stopping_keeps_the_error() -> None:
    """Looked at after each of 40 rounds, noise alone passes 1/α in at most α of the races."""
    passed = 0
    for seed in range(1000):
        generator = random.Random(seed)
        drawn = [generator.gauss(0, 0.1) for _ in range(40)]
        passed += any(e_value(drawn[:count], 0.0) >= 1 / ALPHA for count in range(2, 41))
    assert passed <= 1000 * ALPHA


@pytest.mark.parametrize(("gain", "noise"), [(0.1, 0.01), (0.3, 0.05), (0.5, 0.1)])
def test_a_clear_gain_wins(gain: float, noise: float) -> None:
    """The right one of three wins in nearly all of 100 races."""
    won = [
        run_race(_noisy((0.0, gain, -0.1), noise, seed), 3, min_gain=0.03, max_rounds=20, seed=seed).winner
        for seed in range(100)
    ]
    assert won.count(1) >= 95
    assert set(won) <= {1, None}


def test_a_loser_leaves_early() -> None:
    """What is clearly worse is not raced to the end."""
    race = run_race(_noisy((-0.5,), 0.01, 0), 1, min_gain=0.03, max_rounds=20, seed=0)
    assert (race.runners[0].standing, race.rounds) == ("not better", FEWEST_ROUNDS)


def test_a_spoiled_round_does_not_hide_a_winner() -> None:
    """One round in which the machine stood still for the candidate weighs no more than another."""
    differences = [0.4, 0.35, 0.45, 0.4, -2.0, 0.38, 0.42, 0.4, 0.36, 0.41, 0.39, 0.4, 0.43, 0.4]
    assert e_value(differences, math.log1p(0.03)) >= 1 / ALPHA


def test_a_candidate_that_falls_is_left_out() -> None:
    """Its reason is kept, and the others race on."""

    def measure(number: int | None, round_number: int) -> float:
        if number == 0 and round_number == 1:
            raise Fallen("the server stopped answering")
        return 2.0 if number == 1 else 1.0

    race = run_race(measure, 2, min_gain=0.03, max_rounds=10, seed=0)
    assert race.winner == 1
    assert (race.runners[0].standing, race.runners[0].reason) == ("failed", "the server stopped answering")


def test_a_baseline_that_falls_ends_the_race() -> None:
    """There is nothing to compare with."""

    def measure(number: int | None, _round: int) -> float:
        if number is None:
            raise Fallen("gone")
        return 1.0

    with pytest.raises(Fallen, match="gone"):
        run_race(measure, 1, min_gain=0.03, max_rounds=10, seed=0)


def test_another_load_starts_the_comparison_again() -> None:
    """What was compared under the old load does not count, and the bar is higher."""

    def measure(number: int | None, round_number: int) -> float:
        if number == 0 and round_number == 3:
            raise Restarted
        return 1.0 if number is None or round_number > 3 else 2.0

    race = run_race(measure, 1, min_gain=0.03, max_rounds=10, seed=0)
    assert (race.winner, race.runners[0].restarts) == (None, 1)
    assert race.runners[0].gain == 0


def test_a_race_that_ends_at_a_change_of_load_says_so() -> None:
    """Nobody was left with a round that counts, which is not the same as nobody in the race."""

    def measure(number: int | None, round_number: int) -> float:
        if number == 0 and round_number == 3:
            raise Restarted
        return 1.0

    race = run_race(measure, 1, min_gain=0.03, max_rounds=4, seed=0)
    nothing: Any = None
    contestants = [Contestant(Candidate(()), nothing), Contestant(Candidate(()), nothing)]
    told = reach_verdict(Goal("throughput"), contestants[0], contestants[1:], race, None, None, 0.03)
    assert told[0] == "nothing better"
    assert told[1].startswith("after 4 rounds nothing is decided: gates were missed")


def test_who_lost_to_a_baseline_that_missed_the_gates_has_not_lost() -> None:
    """With fewer users it serves less, and is compared anew."""

    def measure(number: int | None, round_number: int) -> float:
        if number is None and round_number == 5:
            raise Restarted
        if number is None:
            return 2.0 if round_number < 5 else 0.5
        # The other one is undecided until then.
        return 1.0 if number == 0 else (2.6, 1.7)[round_number % 2]

    race = run_race(measure, 2, min_gain=0.03, max_rounds=20, seed=0)
    assert race.runners[0].standing == "better"
