"""Several models tuned together: their configurations are too many to try all, on the twin too. Pure.

From two starts (the files' configurations, and the most of everything) one model after the other takes the values that
are best as the others stand, until none has better ones. What limits the whole is seen at once by such a climb: while a
model is the bottleneck every better value of it shows, and then another one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from serve_deploy.tuning.candidates.candidate import BATCH, PREFERRED, Candidate
from serve_deploy.tuning.prediction.ranking import Space, choose_finalists, in_order, rank
from serve_deploy.tuning.prediction.together import fullest
from serve_deploy.tuning.prediction.twins import Prediction, Twins

# How many of the best kinds without a delay are tried with delays and preferred sizes, and how many of each model.
_KINDS = 2
_KINDS_OF_EACH = 4
# A model has no more configurations than this tried at a time.
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
        """Climb from each start, then on from the best with delays and preferred sizes, then with sizes between."""
        for start in (self._baseline, fullest(self._spaces)):
            self._climb(start, self._plain)
        for prediction in choose_finalists(self._ordered(), self._baseline, _KINDS):
            self._climb(prediction.candidate, self._refined)
        self._climb(self._ordered()[0].candidate, self._between)
        return self._ordered()

    def _ordered(self) -> tuple[Prediction, ...]:
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
        """The model's configuration with delays and preferred sizes; others that were good without, with delays."""
        part = next(part for part in self._twins.parts if part.prefix == model)
        space, own = self._spaces[model], whole.of_model(model)
        yield from space.refined(own, part.execution_seconds(whole))
        for other in self._kinds(model):
            seconds = part.execution_seconds(other.placed(model))
            yield other
            yield from (each for each in space.refined(other, seconds) if each[PREFERRED] is None)

    def _kinds(self, model: str) -> list[Candidate]:
        """The model's configurations without a delay in the best of all, best first."""
        plain = set(self._spaces[model].plain())
        found = (each.candidate.of_model(model) for each in self._ordered())
        return list(dict.fromkeys(own for own in found if own in plain))[:_KINDS_OF_EACH]

    def _between(self, model: str, whole: Candidate) -> Iterable[Candidate]:
        """Batch sizes about the model's own: a deadline rarely allows a power of two."""
        space, own = self._spaces[model], whole.of_model(model)
        for part in (2, 4, 8) if space.is_open else ():
            if step := own.number(BATCH) // part:
                yield from space.between(own, step)
