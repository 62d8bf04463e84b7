"""Which rows a proof of batching stacks together: every size, and in each different neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

LARGEST_STACK = 16  # every size up to it is run; of larger ones some, and only of small rows, to fit in memory
PLAIN = "sample"
_SMALL_ROW = 1 << 18  # bytes of inputs and outputs


@dataclass(frozen=True, eq=False)
class Row:
    """One sample, what the model answers to it alone, and how the sample was made.

    `poison` rows are neighbours only. `loudness` is what the floats of a sample were multiplied by.
    """

    sample: Sample
    outputs: Mapping[str, Array]
    kind: str = PLAIN
    loudness: float = 1.0
    poison: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is a sample as it was given or generated."""
        return self.kind == PLAIN

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in (*self.sample.values(), *self.outputs.values()))


Stack = tuple[Row, ...]


@dataclass(frozen=True)
class Trial:
    """A stack, and where `other` is given one of the same size: rows in the same place must not differ between them."""

    stack: Stack
    other: Stack = ()


@dataclass(frozen=True)
class TrialPlan:
    """The trials that a proof needs, and those that make it surer, the most telling first."""

    needed: tuple[Trial, ...]
    further: tuple[Trial, ...]


def stack_sizes(limit: int, row_bytes: int) -> list[int]:
    """The sizes to run up to a limit: each one up to 16, and of small rows 32, 64 … and the limit itself."""
    sizes = list(range(2, min(limit, LARGEST_STACK) + 1))
    if row_bytes <= _SMALL_ROW:
        size = 2 * LARGEST_STACK
        while size < limit:
            sizes.append(size)
            size *= 2
        sizes += [limit] if limit > LARGEST_STACK else []
    return sizes


def gaps(sizes: Sequence[int], limit: int) -> tuple[tuple[int, int], ...]:
    """The ranges of sizes up to a limit that are not among `sizes`, first and last included."""
    known = sorted(size for size in set(sizes) if size <= limit)
    edges = [0, *known, limit + 1]
    return tuple((low + 1, high - 1) for low, high in zip(edges, edges[1:], strict=False) if high - low > 1)


def plan_trials(rows: Sequence[Row], limit: int) -> TrialPlan:
    """What to stack, from rows of which the plain ones come first."""
    plain = [row for row in rows if row.is_plain]
    crowd = [row for row in rows if not row.is_plain] or [*plain[1:], plain[0]]
    mixer = _Mixer(plain, crowd)
    sizes = stack_sizes(limit, max(row.size_bytes for row in rows))
    top = max(size for size in sizes if size <= LARGEST_STACK)
    small = [size for size in (2, 3) if size < top]
    needed = [mixer.trial(top), *(Trial(mixer.stack(size)) for size in small)]
    further = [Trial(tuple(plain[:top])), Trial((plain[0],) * max(top - 1, 2))]
    done = {top, *small, *(len(trial.stack) for trial in further)}
    further += [Trial(mixer.stack(size)) for size in sizes if size not in done]
    # What follows is run of fast models alone.
    further += [Trial((plain[0],) * top), mixer.trial(top), Trial(_grouped(plain, top))]
    further += [Trial(mixer.stack(size)) for size in sizes if size in done and size != top]
    further += [mixer.trial(size) for size in small]
    return TrialPlan(tuple(needed), tuple(further))


def shared_places(trial: Trial) -> Iterator[int]:
    """Where both stacks of a trial hold the same row."""
    for index, (one, other) in enumerate(zip(trial.stack, trial.other, strict=False)):
        if one is other:
            yield index


class _Mixer:
    """Deals rows out: plain ones in every second place, in turns from the first place or the second, crowd between."""

    def __init__(self, plain: Sequence[Row], crowd: Sequence[Row]) -> None:
        self.plain, self.crowd = plain, crowd
        self.turn, self.dealt = 0, 0

    def stack(self, size: int) -> Stack:
        self.turn += 1
        return self._deal(size, self.turn)

    def trial(self, size: int) -> Trial:
        """Two stacks with the same plain rows in the same places, and other rows between them."""
        self.turn += 1
        return Trial(self._deal(size, self.turn), self._deal(size, self.turn))

    def _deal(self, size: int, turn: int) -> Stack:
        dealt = []
        for place in range(size):
            if (place + turn) % 2:
                dealt.append(self.plain[(place // 2 + turn) % len(self.plain)])
            else:
                dealt.append(self.crowd[self.dealt % len(self.crowd)])
                self.dealt += 1
        return tuple(dealt)


def _grouped(plain: Sequence[Row], size: int) -> Stack:
    """Equal rows beside each other."""
    return tuple(plain[place * len(plain) // size] for place in range(size))
