"""Make samples that a real model accepts, from what its graph says of each input."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.session import Array, Arrays, OpenedModel
from serve_deploy.samples.files import Samples
from serve_deploy.samples.graph_hints import InputHints, read_hints
from serve_deploy.samples.shapes import Sizes, adapt_sizes, find_free_dims, propose_sizes
from serve_deploy.samples.values import MANNERS, Draw, draw_values
from serve_deploy.tensors.closeness import SAME_ANSWER, are_close
from serve_deploy.tensors.types import ModelSignature

_MOST_ATTEMPTS = 60
_RUN_SECONDS = 60.0
_COUNT = 4
_ALL_SECONDS = 120.0
_BETTER_SECONDS = 10.0  # for samples that show more than those which the model accepts already
_MORE_ROWS = (2, 4, 16)
_SCATTERED_SAMPLES = 40
_LARGEST_INPUT = 1 << 26  # elements: a guess that large costs more than it can teach


@dataclass(frozen=True)
class GeneratedSamples:
    """The samples that the model accepted (none if it accepted nothing), and a line for each attempt."""

    samples: Samples
    attempts: tuple[str, ...]


@dataclass(frozen=True)
class _Guess:
    sizes: Sizes
    manner: str


class Runnable(Protocol):
    """What samples are tried on; `symbols` names the free dims of each input."""

    @property
    def signature(self) -> ModelSignature: ...

    @property
    def symbols(self) -> Mapping[str, tuple[str | None, ...]]: ...

    def run(self, inputs: Arrays, *, timeout_seconds: float | None = None) -> Arrays:
        """Raises InvalidModelError where the model refuses."""


def generate_samples(
    opened: OpenedModel, count: int = _COUNT, *, seed: int = 0, hints: Mapping[str, InputHints] | None = None
) -> GeneratedSamples:
    """Guess inputs until the model runs on them; a free first dim is 1. The same seed makes the same samples.

    Prefers a guess on which every output differs between the samples, since one that does not can prove little.
    `hints` are what the graph tells, where they have been read already.
    """
    return _Search(opened, count, seed, read_hints(opened.parse()) if hints is None else hints).run()


def search_samples(runnable: Runnable) -> GeneratedSamples:
    """The same for what has no graph to look into."""
    return _Search(runnable, _COUNT, 0, {}).run()


class _Search:
    """The guesses still to try, the best found so far, and what was tried."""

    def __init__(self, opened: Runnable, count: int, seed: int, hints: Mapping[str, InputHints]) -> None:
        self.opened, self.count, self.seed, self.hints = opened, count, seed, hints
        self.inputs = opened.signature.required_inputs
        self.outputs = opened.signature.outputs
        self.free = find_free_dims(self.inputs, opened.symbols, self.hints)
        sizes = list(propose_sizes(self.free))
        self.queue = deque(
            _Guess(s, manner) for manner in MANNERS[:-1] for s in (sizes if manner == "varied" else sizes[:3])
        )
        # A model that runs on no single row has no batch on axis 0; several rows show that it is not the sizes.
        self.queue.extend(_Guess(s, "varied") for more in _MORE_ROWS for s in list(propose_sizes(self.free, more))[:2])
        # Where the shapes rule batching out there is nothing to prove, so that any samples will do.
        self.enough = 0 if opened.signature.batch_obstacle else len(self.outputs)
        self.best: Samples = ()
        self.best_varying = -1
        self.attempts: list[str] = []

    def run(self) -> GeneratedSamples:
        started, tried = time.monotonic(), set()
        while self.queue and len(self.attempts) < _MOST_ATTEMPTS:
            if time.monotonic() - started > (_BETTER_SECONDS if self.best else _ALL_SECONDS):
                break
            guess = self.queue.popleft()
            key = (tuple(guess.sizes.items()), guess.manner)
            if key in tried:
                continue
            tried.add(key)
            if self._try(guess):
                break
        return GeneratedSamples(self.best, tuple(self.attempts))

    def _try(self, guess: _Guess) -> bool:
        """Run the guess; True where nothing better can be hoped for."""
        shapes = {tensor.name: self.free.fill(tensor, guess.sizes) for tensor in self.inputs}
        words = f"{_describe(shapes)}, {guess.manner} values" if shapes else "no inputs"
        if any(np.prod(shape, dtype=float) > _LARGEST_INPUT for shape in shapes.values()):
            return False
        samples = self._draw(guess, shapes)
        try:
            outputs = [self.opened.run(sample, timeout_seconds=_RUN_SECONDS) for sample in samples]
        except InvalidModelError as error:
            self.attempts.append(f"{words}: {error.message}")
            if not self.best:
                adapted = list(adapt_sizes(self.free, guess.sizes, error.message))[:6]
                self.queue.extendleft(_Guess(sizes, guess.manner) for sizes in reversed(adapted))
            return False
        if guess.manner == "scattered":
            samples, outputs = _most_different(samples, outputs, self.count)
        varying = sum(_varies([output[tensor.name] for output in outputs]) for tensor in self.outputs)
        self.attempts.append(f"{words}: accepted, {varying} of {len(self.outputs)} outputs vary")
        if varying > self.best_varying:
            self.best, self.best_varying = samples, varying
            # What is accepted in one manner may vary more in another; other sizes need no more trying.
            self.queue = deque(_Guess(guess.sizes, manner) for manner in self._other_manners(guess.manner))
        return varying >= self.enough

    def _other_manners(self, manner: str) -> list[str]:
        plain = all(len(tensor.shape) <= 2 for tensor in self.inputs)
        return [other for other in MANNERS if other != manner and (plain or other != "scattered")]

    def _draw(self, guess: _Guess, shapes: dict[str, tuple[int, ...]]) -> Samples:
        rng = np.random.default_rng(self.seed)
        return tuple(
            {
                tensor.name: draw_values(
                    Draw(
                        tensor, shapes[tensor.name], self.hints.get(tensor.name) or InputHints(), number,
                        guess.manner, rng, shapes,
                    )
                )
                for tensor in self.inputs
            }
            for number in range(_SCATTERED_SAMPLES if guess.manner == "scattered" else self.count)
        )  # fmt: skip


def _describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())


def _most_different(samples: Samples, outputs: list[Arrays], count: int) -> tuple[Samples, list[Arrays]]:
    """The samples whose outputs were each seen least often before, in their order."""
    seen: Counter[bytes] = Counter()
    rarity = []
    for index, output in enumerate(outputs):
        keys = [
            array.tobytes() if array.dtype != object else repr(array.tolist()).encode() for array in output.values()
        ]
        rarity.append((sum(seen[key] for key in keys), index))
        seen.update(keys)
    chosen = sorted(index for _, index in sorted(rarity)[:count])
    return tuple(samples[index] for index in chosen), [outputs[index] for index in chosen]


def _varies(outputs: list[Array]) -> bool:
    return not all(are_close(outputs[0], other, SAME_ANSWER) for other in outputs[1:])
