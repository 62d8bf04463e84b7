"""Every configuration on the twin: what it would reach under the goal, best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.tuning.candidates.candidate import (
    BATCH,
    DELAY,
    INSTANCES,
    PREFERRED,
    Candidate,
    Setting,
    Value,
    split_path,
)
from serve_deploy.tuning.prediction.twins import Prediction, Twins
from serve_deploy.tuning.task.options import TuneOptions

_DELAYS_US = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
# How many of the best without a delay are tried with delays and preferred sizes.
_REFINED = 12
# Of how many of the best, with different instances or settings, batch sizes between powers of two are tried.
_SHARPENED = 3
_LEAST_STEP = 16
# Predictions that differ by less are the same.
_SAME = 0.02


@dataclass(frozen=True)
class Space:
    """What is combined: batch sizes (none where the model does not batch), instances and the settings."""

    baseline: Candidate
    batch_sizes: tuple[int, ...]
    instances: Mapping[Setting, tuple[int, ...]]
    max_delay_us: int
    # Whether sizes between these may be tried.
    is_open: bool = True
    # Instead of those that follow from the execution times.
    delays_us: tuple[int, ...] = ()
    preferred: tuple[Value, ...] = ()

    def plain(self) -> Iterator[Candidate]:
        """Every combination without a delay and without preferred sizes."""
        for setting, counts in self.instances.items():
            for count in counts:
                for size in self.batch_sizes or (None,):
                    batching: dict[str, Value] = {} if size is None else {BATCH: size, DELAY: 0, PREFERRED: None}
                    yield self.baseline.changed({**dict(setting), INSTANCES: count, **batching})

    def between(self, candidate: Candidate, step: int) -> Iterator[Candidate]:
        """One of these with batches that are so much smaller and larger."""
        for size in (candidate.number(BATCH) - step, candidate.number(BATCH) + step):
            if 1 <= size <= max(self.batch_sizes):
                yield candidate.changed({BATCH: size})

    def refined(self, candidate: Candidate, execution_seconds: float) -> Iterator[Candidate]:
        """One of these with each delay that is not far beyond an execution, and with preferred sizes."""
        size = candidate.number(BATCH)
        if size < 2:
            return
        longest = min(self.max_delay_us, 4e6 * execution_seconds)
        delays = self.delays_us or tuple(each for each in _DELAYS_US if each <= longest)
        for delay in delays:
            for preferred in self.preferred or (None, (size // 2,), (size // 4, size // 2)):
                if not isinstance(preferred, tuple) or 1 < min(preferred) <= size:
                    yield candidate.changed({DELAY: delay, PREFERRED: preferred})


def make_space(
    options: TuneOptions, baseline: Candidate, largest_batch: int, counts: Mapping[Setting, tuple[int, ...]]
) -> Space:
    """Powers of two up to the largest batch and the file's own, or the sizes that `vary` names."""
    sizes: set[int] = set()
    most = min(options.max_batch_size or largest_batch, largest_batch)
    if largest_batch:
        sizes = {most, baseline.number(BATCH)} | {1 << power for power in range(most.bit_length())}
        sizes = set(_numbers(options, BATCH)) or sizes
    return Space(
        baseline,
        tuple(sorted(size for size in sizes if size <= most)),
        counts,
        options.max_delay_us,
        is_open=bool(largest_batch) and BATCH not in dict(options.vary),
        delays_us=_numbers(options, DELAY),
        preferred=dict(options.vary).get(PREFERRED, ()),
    )


def _numbers(options: TuneOptions, path: str) -> tuple[int, ...]:
    return tuple(int(value) for value in dict(options.vary).get(path, ()) if isinstance(value, int))


def rank(twins: Twins, space: Space) -> tuple[Prediction, ...]:
    """All of the space, best first: those that meet the gates, by score; of equals, what changes least."""
    plain = in_order([twins.predict(each) for each in space.plain()], space.baseline)
    (part,) = twins.parts
    refined = [
        twins.predict(candidate)
        for prediction in plain[:_REFINED]
        for candidate in space.refined(prediction.candidate, part.execution_seconds(prediction.candidate))
    ]
    found = in_order([*plain, *refined], space.baseline)
    if not space.is_open:
        return found
    sharpened = [each for start in _of_each_kind(found) for each in _sharpen(twins, space, start)]
    return in_order([*found, *sharpened], space.baseline)


def _of_each_kind(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The best few that differ in their instances or settings."""
    kinds = {(each.candidate.setting, each.candidate[INSTANCES]): each for each in reversed([*predictions])}
    yield from list(reversed(kinds.values()))[:_SHARPENED]


def _sharpen(twins: Twins, space: Space, start: Prediction) -> Iterator[Prediction]:
    """Batch sizes about the best one, in ever smaller steps: a deadline rarely allows a power of two."""
    best, step = start, start.candidate.number(BATCH) // 2
    while step * _LEAST_STEP >= start.candidate.number(BATCH) > 0 and step:
        found = [twins.predict(each) for each in space.between(best.candidate, step)]
        yield from found
        best = in_order([best, *found], space.baseline)[0]
        step //= 2


def in_order(predictions: Iterable[Prediction], baseline: Candidate) -> tuple[Prediction, ...]:
    """Best first: those that meet the gates, by score; of equals, what changes least."""

    def key(each: Prediction) -> tuple[bool, int, int]:
        # Steps of two per cent, so that of what is as good as equal the least change comes first.
        step = round(math.log(each.score) / _SAME) if each.score > 0 else -(10**9)
        return not each.meets, -step, _changes(each.candidate, baseline)

    return tuple(sorted(predictions, key=key))


def _changes(candidate: Candidate, baseline: Candidate) -> int:
    return sum(1 for path, value in candidate.values if baseline[path] != value)


def choose_finalists(ranked: Sequence[Prediction], baseline: Candidate, most: int) -> tuple[Prediction, ...]:
    """The best few that differ in more than their delay, or much in their batch: the twin may be wrong of one kind.

    Of several models together those come first that differ in their instances or settings: else all would be of one.
    """
    chosen: list[Prediction] = []
    several = len({split_path(path)[0] for path, _ in baseline.values}) > 1
    for kind_of in (_coarse_kind, _kind) if several else (_kind,):
        kinds = {_kind_of(each.candidate, kind_of) for each in chosen}
        for each in ranked:
            kind = _kind_of(each.candidate, kind_of)
            if each.candidate != baseline and kind not in kinds and len(chosen) < most:
                kinds.add(kind)
                chosen.append(each)
    return tuple(chosen)


def _kind_of(candidate: Candidate, kind_of: Callable[[str, Value], object]) -> tuple[object, ...]:
    return tuple(kind_of(*pair) for pair in candidate.values)


def add_boldest(
    finalists: Sequence[Prediction], twins: Twins, spaces: Mapping[str, Space], most: int
) -> tuple[Prediction, ...]:
    """The finalists, the last of them replaced by the best for the gates as they are, where that is another one.

    The twin is a few per cent wrong: what it says comes close to a gate may stay well below it. Its goal is that.
    """
    space = next(iter(spaces.values()))
    if len(spaces) > 1 or not space.is_open or not twins.goal.is_bound or not finalists or most < 2:
        return tuple(finalists)
    first = twins.predict(finalists[0].candidate)
    boldest = in_order([first, *_sharpen(twins, space, first)], space.baseline)[0]
    if boldest.candidate in [space.baseline, *(each.candidate for each in finalists)]:
        return tuple(finalists)
    return (*finalists[: most - 1], boldest)


def _coarse_kind(path: str, value: Value) -> tuple[str, Value]:
    return path, None if split_path(path)[1] in (BATCH, DELAY, PREFERRED) else value


def _kind(path: str, value: Value) -> tuple[str, Value]:
    field = split_path(path)[1]
    if field in (DELAY, PREFERRED):
        return path, None
    return path, value.bit_length() if field == BATCH and isinstance(value, int) else value
