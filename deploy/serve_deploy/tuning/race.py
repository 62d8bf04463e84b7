"""The race: candidates against the baseline in interleaved rounds, until each is decided. Pure.

Each round measures everyone once, in a new random order, so that what drifts reaches all alike. What is compared is
the logarithm of a candidate's score over the baseline's of the same round. The test is sequential: the right-Haar
t-test Bayes factor with a normal prior on the effect size (Rouder et al. 2009, doi 10.3758/PBR.16.2.225, with a fixed
g), which is an e-value under optional stopping (Hendriksen, de Heide, Grünwald 2021, doi 10.1214/20-BA1234): looked at
after every round, it exceeds 1/α under the null hypothesis with a probability of at most α. The candidates share α
(Bonferroni). A winner needs more than chance: the null hypothesis is not "no gain", but "a gain of `min_gain`".
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from serve_deploy.reports.intervals import student_t

ALPHA = 0.05
# A candidate is given up more readily than it is declared better: that costs a chance, not the truth.
_GIVE_UP_ALPHA = 0.2
# Differences worth a change are large beside the noise of a round.
_G = 9.0
_LEAST_NOISE = 1e-4
FEWEST_ROUNDS = 4

Standing = Literal["better", "not better", "undecided", "failed"]


def e_value(differences: Sequence[float], boundary: float) -> float:
    """How strongly the differences speak against a mean of `boundary`, by the t-test above; 1 is not at all."""
    count = len(differences)
    if count < 2:
        return 1.0
    shifted = [each - boundary for each in differences]
    # Without any noise at all nothing is known of it.
    deviation = max(stdev(shifted), _LEAST_NOISE)
    t_squared = count * (fmean(shifted) / deviation) ** 2 / (count - 1)
    grown = 1 + count * _G
    logarithm = (count / 2) * (math.log1p(t_squared) - math.log1p(t_squared / grown)) - math.log(grown) / 2
    return math.exp(min(logarithm, 700.0))


@dataclass
class Runner:
    """A candidate in the race, by its number; `differences` are logarithms of its score over the baseline's."""

    number: int
    differences: list[float] = field(default_factory=list)
    standing: Standing = "undecided"
    reason: str = ""

    @property
    def gain(self) -> float:
        """The mean gain over the baseline: 0.1 is 10 % more."""
        return math.expm1(fmean(self.differences)) if self.differences else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The gain's 95 % interval by Student's t, for information: the decision is the sequential test's."""
        count = len(self.differences)
        if count < 2:
            return self.gain, self.gain
        reach = student_t(count - 1) * stdev(self.differences) / math.sqrt(count)
        mean = fmean(self.differences)
        return math.expm1(mean - reach), math.expm1(mean + reach)

    def judge(self, min_gain: float, runners: int) -> None:
        """Decide what can be decided."""
        boundary = math.log1p(min_gain)
        evidence = e_value(self.differences, boundary)
        if fmean(self.differences) > boundary and evidence >= runners / ALPHA:
            self.standing = "better"
        elif fmean(self.differences) < boundary and evidence >= 1 / _GIVE_UP_ALPHA:
            self.standing = "not better"


@dataclass(frozen=True)
class Race:
    """How it ended: the winner's number, or None, and all runners."""

    winner: int | None
    runners: tuple[Runner, ...]
    rounds: int


# Measures one contestant (None: the baseline) in a round and returns its score, above 0; raises Fallen where it cannot.
Measure = Callable[[int | None, int], float]


class Fallen(Exception):
    """A candidate that cannot be measured any more, with the reason."""


def run_race(measure: Measure, runners: int, *, min_gain: float, max_rounds: int, seed: int) -> Race:
    """Race candidates 0 … runners-1; only failures of the baseline are raised.

    It ends when all are decided, or when a better one leads and no undecided one can be ahead of it any more.
    """
    field_of = [Runner(number) for number in range(runners)]
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, not a secret
    rounds = 0
    while rounds < max_rounds and (active := [each for each in field_of if _runs_on(each, field_of)]):
        order: list[Runner | None] = [None, *active]
        shuffle(order)
        scores: dict[int | None, float] = {}
        for each in order:
            try:
                scores[each.number if each else None] = measure(each.number if each else None, rounds)
            except Fallen as fallen:
                if each is None:
                    raise
                each.standing, each.reason = "failed", str(fallen)
        rounds += 1
        for each in active:
            if each.number in scores:
                each.differences.append(math.log(scores[each.number] / scores[None]))
                if rounds >= FEWEST_ROUNDS:
                    each.judge(min_gain, runners)
    better = [each for each in field_of if each.standing == "better"]
    winner = max(better, key=lambda each: each.gain, default=None)
    return Race(winner.number if winner else None, tuple(field_of), rounds)


def _runs_on(runner: Runner, others: Sequence[Runner]) -> bool:
    if runner.standing != "undecided":
        return False
    leader = max((each.gain for each in others if each.standing == "better"), default=None)
    return leader is None or len(runner.differences) < FEWEST_ROUNDS or runner.interval[1] > leader
