"""Requests to several models in one stream: which one each is for, and what was measured of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from serve_deploy.loadtest.clients.exchange import Exchange, Request, Slot
from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.recorder import SampleBlock
from serve_deploy.loadtest.requests import NextRequest

# An outcome is recorded as its code, and the number of its model times this.
CODES = 256


@dataclass(frozen=True, slots=True)
class NumberedRequest(Request):
    """A request to one of several models, by its number."""

    model: int = 0


@dataclass(frozen=True)
class Interleaved:
    """All slots of a worker share one round, in which each model has its turns, and its samples rotate.

    `requests` are each model's; `order` has their numbers, in the order of the turns.
    """

    requests: tuple[tuple[Request, ...], ...]
    order: tuple[int, ...]

    def open(self, worker: int, _workers: int) -> Callable[[], NextRequest]:
        """One endless round, from the worker's own start."""
        numbered = [
            [NumberedRequest(each.data, each.expected, number) for each in own]
            for number, own in enumerate(self.requests)
        ]
        endless = [itertools.cycle(own[worker % len(own) :] + own[: worker % len(own)]) for own in numbered]
        start = worker % len(self.order)

        def follow() -> Iterator[Request]:
            for number in itertools.cycle(self.order[start:] + self.order[:start]):
                yield next(endless[number])

        stream = follow()
        return lambda: stream.__next__


class InterleavedExchange(Exchange):
    """Notes with each outcome which model the request was for."""

    def finish(self, slot: Slot, code: int) -> None:
        """The slot's request ended with this outcome; the slot is free."""
        request = cast("NumberedRequest", cast("Any", slot).request)
        super().finish(slot, code + CODES * request.model)


def split_outcomes(block: SampleBlock, models: int) -> tuple[SampleBlock, list[SampleBlock]]:
    """A block with plain outcomes, and the block of each model; what was never sent is in the first only."""
    rows = np.frombuffer(block.rows, np.float64).reshape(-1, 4).copy()
    numbers = rows[:, 3] // CODES
    rows[:, 3] %= CODES
    bare = SampleBlock(rows=b"", in_flight=0)
    parts = [replace(bare, rows=rows[numbers == number].tobytes()) for number in range(models)]
    return replace(block, rows=rows.tobytes()), parts


@dataclass
class InterleavedMeasurement(Measurement):
    """A period's measurement, and that of each model in it."""

    models: int = 0
    parts: Sequence[Measurement] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = [Measurement(self.start) for _ in range(self.models)]

    def add(self, worker: int, block: SampleBlock) -> None:
        """Take in what one worker recorded since its last block."""
        whole, blocks = split_outcomes(block, self.models)
        super().add(worker, whole)
        for part, own in zip(self.parts, blocks, strict=True):
            part.add(worker, own)
