"""Will a gate hold on a further run? From how much its figure varied between runs. Pure.

A figure below its gate in three runs says little of the fourth. With a confidence of 1 - α the next run lies below

    mean + t(1 - α, degrees of freedom) · s · √(1 + 1/n)

the one-sided prediction bound for one further observation of a normal distribution (Meeker, Hahn and Escobar,
Statistical Intervals, 2nd edition 2017, chapter 4). It is taken of logarithms, as times vary by factors. s is the
deviation of runs about the mean of their own group: rounds of the race count for it, and not for the mean. Rounds share
a server: where the runs of the last group, on fresh ones, deviate more, s is theirs. What chance does to the percentile
of a single run is in s, too; a bound from the counts of its histogram would take requests for independent that shared a
batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist, fmean

from serve_deploy.reports.expressions import COMPARISONS
from serve_deploy.reports.gates import Gate
from serve_deploy.reports.intervals import student_t
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.task.objective import Goal

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Assurance:
    """A gate's figure over some runs, its geometric mean, and what the next run stays within; in the gate's unit.

    `hoped` would be the bound if mean and deviation were known to be what they seem: with more runs it comes near that.
    """

    model: str
    gate: Gate
    mean: float
    bound: float
    hoped: float

    @property
    def holds(self) -> bool:
        """Whether the next run holds the gate, with `CONFIDENCE`."""
        return COMPARISONS[self.gate.comparison](self.bound, self.gate.threshold)

    @property
    def may_hold(self) -> bool:
        """Whether more runs may show that it does."""
        return COMPARISONS[self.gate.comparison](self.hoped, self.gate.threshold)

    @property
    def excess(self) -> float:
        """How many times as large the bound is as the gate allows, or as small."""
        allowed = burden(self.gate, self.gate.threshold)
        return burden(self.gate, self.bound) / allowed if allowed else math.inf


def assure(goal: Goal, groups: Sequence[Sequence[MixedPoint]]) -> tuple[Assurance, ...]:
    """What is to be expected of each gate on a time or a rate under the load of the last group.

    Nothing where no group has two runs: how much they vary is not known.
    """
    return tuple(_assure(goal, groups)) if any(len(group) > 1 for group in groups) else ()


def _assure(goal: Goal, groups: Sequence[Sequence[MixedPoint]]) -> Iterator[Assurance]:
    runs = [list(goal.ask(point)) for point in chain.from_iterable(groups)]
    for asked in zip(*runs, strict=True):
        model, _, gate = asked[0]
        figures = [gate.read(part) or 0.0 for _, part, gate in asked]
        if gate.quantity != "share" and min(figures) > 0:
            logarithms = iter(math.log(figure / gate.factor) for figure in figures)
            yield _bound(model, gate, [[next(logarithms) for _ in group] for group in groups])


def _bound(model: str, gate: Gate, groups: Sequence[Sequence[float]]) -> Assurance:
    mean, freedom = fmean(groups[-1]), sum(len(group) - 1 for group in groups if group)
    pooled = sum(_squares(group) for group in groups if group) / freedom
    own = _squares(groups[-1]) / max(1, len(groups[-1]) - 1)
    deviation = math.sqrt(max(pooled, own)) * (-1 if _is_above(gate) else 1)
    reach = student_t(freedom, 2 * CONFIDENCE - 1) * math.sqrt(1 + 1 / len(groups[-1]))
    hoped = NormalDist().inv_cdf(CONFIDENCE)
    return Assurance(model, gate, *(math.exp(mean + each * deviation) for each in (0.0, reach, hoped)))


def _squares(group: Sequence[float]) -> float:
    mean = fmean(group)
    return sum((each - mean) ** 2 for each in group)


def burden(gate: Gate, figure: float | None) -> float:
    """The figure, or its inverse where it must not be too small: the higher it is, the worse."""
    if _is_above(gate):
        return 1 / figure if figure else math.inf
    return figure or 0.0


def _is_above(gate: Gate) -> bool:
    return gate.comparison in (">", ">=")
