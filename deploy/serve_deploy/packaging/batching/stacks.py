"""Which rows a proof of batching stacks together: every size, and in each different neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from serve_deploy.tensors.wire import count_bytes

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]

LARGEST_STACK = 16  # every size up to it is run; of larger ones some, and only of small rows, to fit in memory
PLAIN = "sample"
_EXCHANGED = 4  # rows of the stack whose neighbours are exchanged in any case
_MOST_BYTES = 16 << 20  # of the inputs and outputs of a stack larger than that; the model itself needs more


@dataclass(frozen=True, eq=False)
class Row:
    """One sample, what the model answers to it alone, and how the sample was made.

    `poison` rows are neighbours only.
    """

    sample: Sample
    outputs: Mapping[str, Array]
    kind: str = PLAIN
    poison: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is a sample as it was given or generated."""
        return self.kind == PLAIN

    @property
    def size_bytes(self) -> int:
        return sum(map(count_bytes, (*self.sample.values(), *self.outputs.values())))


Stack = tuple[Row, ...]


@dataclass(frozen=True)
class Trial:
    """A stack, and where `other` is given one of the same size: rows in the same place must not differ between them."""

    stack: Stack
    other: Stack = ()


@dataclass(frozen=True)
class TrialPlan:
    """The trials that a proof cannot do without, those of every other size, and those that make it surer."""

    needed: tuple[Trial, ...]
    sizes: tuple[Trial, ...]
    further: tuple[Trial, ...]


def stack_sizes(limit: int, row_bytes: int) -> list[int]:
    """The sizes to run up to a limit: each one up to 16, then 32, 64 … and the limit itself while they are small."""
    sizes = list(range(2, min(limit, LARGEST_STACK) + 1))
    doubled = [LARGEST_STACK << power for power in range(1, limit.bit_length())]
    larger = [size for size in doubled if size < limit] + [limit]
    return sizes + [size for size in larger if size > LARGEST_STACK and size * row_bytes <= _MOST_BYTES]


def gaps(sizes: Sequence[int], limit: int) -> tuple[tuple[int, int], ...]:
    """The ranges of sizes up to a limit that are not among `sizes`, first and last included."""
    known = sorted(size for size in set(sizes) if size <= limit)
    edges = [0, *known, limit + 1]
    return tuple((low + 1, high - 1) for low, high in pairwise(edges) if high - low > 1)


def plan_trials(rows: Sequence[Row], limit: int) -> TrialPlan:
    """What to stack, from rows of which the plain ones come first."""
    plain = [row for row in rows if row.is_plain]
    crowd = [row for row in rows if not row.is_plain] or [*plain[2:], *plain[:2]]
    mixer = _Mixer(plain, crowd)
    sizes = stack_sizes(limit, max(row.size_bytes for row in rows))
    top = max(size for size in sizes if size <= LARGEST_STACK)
    small = [size for size in (2, 3) if size < top]
    needed = [Trial(mixer.stack(size)) for size in small]
    needed += [Trial(mixer.stack(top))] if top > _EXCHANGED else []
    needed.append(mixer.exchange(min(top, _EXCHANGED)))
    # Rows that are all alike tell as much at one size as at another.
    every = [Trial((plain[0],) * max(top - 1, 2))]
    done = {len(trial.stack) for trial in (*needed, *every)}
    every += [Trial(mixer.stack(size)) for size in sizes if size not in done]
    further = [Trial((plain[0],) * top), mixer.trial(top), Trial(_grouped(plain, top))]
    further += [Trial(mixer.stack(size)) for size in sorted(done) if size not in (*small, top)]
    further += [mixer.trial(size) for size in small]
    return TrialPlan(tuple(needed), tuple(every), tuple(further))


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

    def exchange(self, size: int) -> Trial:
        """A stack in which crowd stands beside plain rows, and one in which only plain rows do."""
        self.turn += 1
        stack = self._deal(size, self.turn)
        return Trial(stack, tuple(self._plain_beside(place, row, size) for place, row in enumerate(stack)))

    def _plain_beside(self, place: int, row: Row, size: int) -> Row:
        kept = (place + self.turn) % 2
        return row if kept else self.plain[(place // 2 + self.turn + size // 2) % len(self.plain)]

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
