"""Every configuration on the twin: what it would reach under the goal, best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.tuning.candidates import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, Setting, Value, split_path
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.twins import Prediction, Twins

_DELAYS_US = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
# How many of the best without a delay are tried with delays and preferred sizes.
_REFINED = 12
# Predictions that differ by less are the same.
_SAME = 0.02


@dataclass(frozen=True)
class Space:
    """What is combined: batch sizes (none where the model does not batch), instances and the settings."""

    baseline: Candidate
    batch_sizes: tuple[int, ...]
    instances: Mapping[Setting, tuple[int, ...]]
    max_delay_us: int
    # Instead of those that follow from the execution times.
    delays_us: tuple[int, ...] = ()
    preferred: tuple[Value, ...] = ()

    def plain(self) -> Iterator[Candidate]:
        """Every combination without a delay and without preferred sizes."""
        for setting, counts in self.instances.items():
            for count in counts:
                for size in self.batch_sizes or (None,):
                    batching: dict[str, Value] = {} if size is None else {BATCH: size, DELAY: 0, PREFERRED: None}
                    yield Candidate.of({**dict(self.baseline.values), **dict(setting), INSTANCES: count, **batching})

    def refined(self, candidate: Candidate, execution_seconds: float) -> Iterator[Candidate]:
        """One of these with each delay that is not far beyond an execution, and with preferred sizes."""
        size = candidate.number(BATCH)
        if size < 2:
            return
        longest = min(self.max_delay_us, 4e6 * execution_seconds)
        delays = self.delays_us or tuple(each for each in _DELAYS_US if each <= longest)
        for delay in delays:
            for preferred in self.preferred or (None, (size // 2,), (size // 4, size // 2)):
                if not isinstance(preferred, tuple) or 1 < preferred[0] <= size:
                    yield Candidate.of({**dict(candidate.values), DELAY: delay, PREFERRED: preferred})


def make_space(
    options: TuneOptions, baseline: Candidate, largest_batch: int, counts: Mapping[Setting, tuple[int, ...]]
) -> Space:
    """Powers of two up to the largest batch and the file's own, or the sizes that `vary` names."""
    sizes: set[int] = set()
    if largest_batch:
        sizes = {largest_batch, baseline.number(BATCH)} | {1 << power for power in range(largest_batch.bit_length())}
        asked = next((values for path, values in options.vary if path == BATCH), ())
        sizes = {int(value) for value in asked if isinstance(value, int)} or sizes
    return Space(
        baseline,
        tuple(sorted(size for size in sizes if size <= largest_batch)),
        counts,
        options.max_delay_us,
        delays_us=_numbers(options, DELAY),
        preferred=next((values for path, values in options.vary if path == PREFERRED), ()),
    )


def _numbers(options: TuneOptions, path: str) -> tuple[int, ...]:
    asked = next((values for each, values in options.vary if each == path), ())
    return tuple(int(value) for value in asked if isinstance(value, int))


def rank(twins: Twins, space: Space) -> tuple[Prediction, ...]:
    """All of the space, best first: those that meet the gates, by score; of equals, what changes least."""
    plain = in_order([twins.predict(each) for each in space.plain()], space.baseline)
    (part,) = twins.parts
    refined = [
        twins.predict(candidate)
        for prediction in plain[:_REFINED]
        for candidate in space.refined(prediction.candidate, part.execution_seconds(prediction.candidate))
    ]
    return in_order([*plain, *refined], space.baseline)


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
    """The best few that differ in more than their delay: the twin may be wrong about one kind only."""
    chosen: list[Prediction] = []
    kinds: set[object] = set()
    for each in ranked:
        kind = tuple(pair for pair in each.candidate.values if split_path(pair[0])[1] not in (DELAY, PREFERRED))
        if each.candidate == baseline or kind in kinds or len(chosen) >= most:
            continue
        kinds.add(kind)
        chosen.append(each)
    return tuple(chosen)
