"""Several models tuned together: their configurations are too many to try all, on the twin too. Pure.

From two starts (the files' configurations, and the most of everything) one model after the other takes the values that
are best as the others stand, until none has better ones. What limits the whole is seen at once by such a climb: while a
model is the bottleneck every better value of it shows, and then another one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from serve_deploy.tuning.candidates import BATCH, Candidate
from serve_deploy.tuning.ranking import Space, in_order, rank
from serve_deploy.tuning.together import fullest
from serve_deploy.tuning.twins import Prediction, Twins

# How many of the best without a delay are tried with delays and preferred sizes.
_REFINED = 3
# Models that are tuned together have no more configurations than this tried at a time.
_FEW = 40

# A model's candidates, given the one of all models.
_Choices = Callable[[str, Candidate], Iterable[Candidate]]


def rank_together(twins: Twins, spaces: Mapping[str, Space]) -> tuple[Prediction, ...]:
    """What was tried of all combinations, best first; `spaces` has each model's own by its name in the paths."""
    if len(spaces) == 1:
        (space,) = spaces.values()
        return rank(twins, space)
    return _Climb(twins, spaces).rank()


class _Climb:
    def __init__(self, twins: Twins, spaces: Mapping[str, Space]) -> None:
        self._twins, self._spaces = twins, spaces
        self._baseline = Candidate.join(space.baseline.placed(model) for model, space in spaces.items())
        self._seen: dict[Candidate, Prediction] = {}

    def rank(self) -> tuple[Prediction, ...]:
        """Climb from each start, then on from the best with delays and preferred sizes."""
        for start in (self._baseline, fullest(self._spaces)):
            self._climb(start, self._plain)
        for prediction in in_order(self._seen.values(), self._baseline)[:_REFINED]:
            self._climb(prediction.candidate, self._refined)
        return in_order(self._seen.values(), self._baseline)

    def _climb(self, start: Candidate, choices: _Choices) -> None:
        best, before = self._predict(start), None
        while best is not before:
            before = best
            for model in self._spaces:
                whole = best.candidate
                tried = [Candidate.join([whole, each.placed(model)]) for each in choices(model, whole)]
                best = in_order([best, *map(self._predict, tried)], self._baseline)[0]

    def _predict(self, candidate: Candidate) -> Prediction:
        return self._seen.setdefault(candidate, self._twins.predict(candidate))

    def _plain(self, model: str, whole: Candidate) -> Iterable[Candidate]:
        """The model's configurations without a delay; of many those that differ in their batch or in all else."""
        own, every = whole.of_model(model), tuple(self._spaces[model].plain())
        if len(every) <= _FEW:
            return every
        return [each for each in every if each[BATCH] == own[BATCH] or each.setting == own.setting]

    def _refined(self, model: str, whole: Candidate) -> Iterable[Candidate]:
        part = next(part for part in self._twins.parts if part.prefix == model)
        own = whole.of_model(model)
        yield from self._spaces[model].refined(own, part.execution_seconds(whole))
