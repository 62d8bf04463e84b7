"""The race: candidates against the baseline in interleaved rounds, until each is decided. Pure.

Each round measures everyone once, in a new random order, so that what drifts reaches all alike. What is compared is
the logarithm of a candidate's score over the baseline's of the same round. The test is sequential, by e-values: looked
at after every round, one exceeds 1/α under the null hypothesis with a probability of at most α (Ville's inequality).
It is the mean of two, which is one again (Vovk and Wang 2021, arXiv 1912.06116):

- the t-test Bayes factor with the right-Haar prior on the noise and a normal prior on the effect size (Rouder et al.
  2009, doi 10.3758/PBR.16.2.225, with a fixed g), safe under optional stopping (Hendriksen, de Heide, Grünwald 2021,
  doi 10.1214/20-BA1234): decides within a few rounds where the noise is small;
- the sign test's, with a uniform prior: rounds that a busy machine spoiled weigh no more than others.

The candidates share α (Bonferroni). A winner needs more than chance: the null hypothesis is not "no gain", but "a gain
of at most `min_gain`".
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from serve_deploy.reports.intervals import student_t
from serve_deploy.tuning.measured import Fallen

ALPHA = 0.05
# A candidate is given up more readily than it is declared better: that costs a chance, not the truth.
_GIVE_UP_ALPHA = 0.2
# Differences worth a change are large beside the noise of a round.
_G = 9.0
_LEAST_NOISE = 1e-4
FEWEST_ROUNDS = 4

Standing = Literal["better", "not better", "undecided", "failed"]


def e_value(differences: Sequence[float], boundary: float) -> float:
    """How strongly the differences speak against being about `boundary`; 1 is not at all."""
    shifted = [each - boundary for each in differences]
    return (_t_test(shifted) + _sign_test(shifted)) / 2 if len(shifted) > 1 else 1.0


def _sign_test(shifted: Sequence[float]) -> float:
    count, above = len(shifted), sum(1 for each in shifted if each > 0)
    return math.exp(count * math.log(2) - math.log((count + 1) * math.comb(count, above)))


def _t_test(shifted: Sequence[float]) -> float:
    count = len(shifted)
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
    restarts: int = 0

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
        evidence, mean = e_value(self.differences, boundary), fmean(self.differences)
        if mean > boundary and evidence >= runners * (1 + self.restarts) / ALPHA:
            self.standing = "better"
        elif mean < boundary and evidence >= 1 / _GIVE_UP_ALPHA:
            self.standing = "not better"


@dataclass(frozen=True)
class Race:
    """How it ended: the winner's number, or None, and all runners."""

    winner: int | None
    runners: tuple[Runner, ...]
    rounds: int


# Measures one contestant (None: the baseline) in a round and returns its score, above 0; raises Fallen where it cannot.
Measure = Callable[[int | None, int], float]


class Restarted(Exception):
    """A contestant that runs under another load from the next round on: what was compared before does not count."""


def run_race(measure: Measure, runners: int, *, min_gain: float, max_rounds: int, seed: int) -> Race:
    """Race candidates 0 … runners-1; only failures of the baseline are raised.

    It ends when all are decided, or when a better one leads and no undecided one can be ahead of it any more.
    """
    everyone = [Runner(number) for number in range(runners)]
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, not a secret
    rounds = 0
    while rounds < max_rounds and (active := [each for each in everyone if _runs_on(each, everyone)]):
        order: list[Runner | None] = [None, *active]
        shuffle(order)
        scores = {each.number if each else None: _measure(measure, each, rounds, everyone) for each in order}
        rounds += 1
        own = scores[None]
        for each in active:
            score = scores[each.number]
            if own and score and each.standing == "undecided":
                each.differences.append(math.log(score / own))
                if len(each.differences) >= FEWEST_ROUNDS:
                    each.judge(min_gain, runners)
    better = [each for each in everyone if each.standing == "better"]
    winner = max(better, key=lambda each: each.gain, default=None)
    return Race(winner.number if winner else None, tuple(everyone), rounds)


def _measure(measure: Measure, runner: Runner | None, rounds: int, everyone: Sequence[Runner]) -> float | None:
    """A contestant's score in this round; None where it has none that counts."""
    try:
        return measure(runner.number if runner else None, rounds)
    except Restarted:
        # A baseline under another load is another baseline: who lost to one that missed the gates has not lost.
        for each in everyone if runner is None else (runner,):
            if each.standing in ("undecided", "not better"):
                each.standing = "undecided"
                each.differences.clear()
                each.restarts += 1
    except Fallen as fallen:
        if runner is None:
            raise
        runner.standing, runner.reason = "failed", str(fallen)
    return None


def _runs_on(runner: Runner, others: Sequence[Runner]) -> bool:
    if runner.standing != "undecided":
        return False
    leader = max((each.gain for each in others if each.standing == "better"), default=None)
    return leader is None or len(runner.differences) < FEWEST_ROUNDS or runner.interval[1] > leader
