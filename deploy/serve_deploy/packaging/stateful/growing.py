"""Sequences for a model whose state grows: what each input has for each step, or for all steps so far."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.implicit_state.chunks import Recording, find_time_axes
from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.pairing import StatePair
from serve_deploy.tensors.types import TensorSpec

if TYPE_CHECKING:
    from serve_deploy.onnx.session import Array, OpenedModel
    from serve_deploy.samples.files import Sample, Samples

Role = Literal["step", "so_far", "fixed"]
# What most decoders have: ids of the new tokens, and a mask over all of them.
_ROLES: tuple[Role, ...] = ("step", "so_far", "fixed")
_MOST_GROUPS = 4
_TRIED = ((0, 2), (2, 1), (3, 2))  # steps so far, and new ones
_LENGTH = 64
_DRAWN = 4


@dataclass(frozen=True)
class GrowingInputs:
    """The axis of each input that has an entry for each new step, or for each step so far; `fixed` inputs have none."""

    samples: Samples
    axes: Mapping[str, tuple[int, Role]]
    takes_several: bool

    @property
    def so_far(self) -> tuple[str, ...]:
        """The inputs that are as long as the sequence."""
        return tuple(name for name, (_, role) in self.axes.items() if role == "so_far")

    def sizes(self, number: int, length: int) -> list[int]:
        """How many new steps each request of a sequence brings: a few at first, then one by one."""
        first = 1 + number % 3 if self.takes_several else 1
        return [first, *(1 for _ in range(length - 1))]

    def make_step(self, number: int, step: int, length: int) -> Sample:
        """The inputs of one request, all but the states."""
        sizes = self.sizes(number, length)
        return self.cut(self.draw(number, sum(sizes)), sum(sizes[:step]), sum(sizes[: step + 1]))

    def record(self, count: int) -> Recording:
        """One sequence step by step, and in one go."""
        whole = self.draw(0, count)
        return Recording([self.cut(whole, step, step + 1) for step in range(count)], self.cut(whole, 0, count))

    def cut(self, whole: Sample, start: int, stop: int) -> Sample:
        """What one request has of a sequence: its own steps, and all before them where an input is so long."""

        def cut(name: str, array: Array) -> Array:
            if name not in self.axes:
                return array
            axis, role = self.axes[name]
            return array.take(range(0 if role == "so_far" else start, stop), axis=axis)

        return {name: cut(name, array) for name, array in whole.items()}

    def draw(self, number: int, length: int) -> Sample:
        """All inputs of a sequence, as long as it becomes."""
        return {name: self._fill(name, number, length) for name in self.samples[0]}

    def _fill(self, name: str, number: int, length: int) -> Array:
        own = self.samples[number % len(self.samples)][name]
        if name not in self.axes:
            return own
        axis, _ = self.axes[name]
        if re.search("mask", name.lower()):
            return np.ones([length if place == axis else size for place, size in enumerate(own.shape)], own.dtype)
        if re.search("position", name.lower()):
            shape = [length if place == axis else 1 for place in range(own.ndim)]
            filled = np.arange(length).reshape(shape).astype(own.dtype)
            return np.broadcast_to(filled, [length if p == axis else size for p, size in enumerate(own.shape)])
        parts = [sample[name] for sample in self.samples[number % len(self.samples) :] + self.samples]
        joined = np.concatenate(parts, axis=axis)
        return joined.take(range(length), axis=axis, mode="wrap")


def learn_growth(opened: OpenedModel, states: Sequence[State], rows: frozenset[str], samples: Samples) -> GrowingInputs:
    """Find by running which inputs go with the steps; InvalidModelError where the model does not start empty."""
    own = {state.input for state in states}
    inputs = [spec for spec in opened.signature.required_inputs if spec.name not in own]
    sent = tuple({name: array for name, array in sample.items() if name not in own} for sample in samples)
    for axes in _propose(inputs, rows, opened.model.symbols):
        for takes_several in (True, False):
            growing = GrowingInputs(sent, axes, takes_several)
            if all(_grows(opened, states, growing, *tried) for tried in _TRIED if takes_several or tried[1] == 1):
                return growing
    raise InvalidModelError(
        f"state '{states[0].input}' of {opened.model.path} grows, and it was not found how the other inputs go with it",
        hint="export the model with named dimensions, such as past and past + step; or with states of a fixed size",
    )


def draw_growing(opened: OpenedModel, pairs: Sequence[StatePair]) -> Samples:
    """Whole requests to a model whose states have one free axis beside the batch; none where none is accepted."""
    from serve_deploy.samples.graph_hints import InputHints, read_hints
    from serve_deploy.samples.values import Draw, draw_values

    free = {
        pair.input.name: [axis for axis, dim in enumerate(pair.input.shape) if axis and dim == -1] for pair in pairs
    }
    if any(len(axes) != 1 for axes in free.values()):
        return ()
    (past, new), rng = _TRIED[-1], np.random.default_rng(0)
    hints, required = read_hints(opened.parse()), opened.signature.required_inputs
    rows = frozenset(spec.name for spec in required if spec.shape and spec.shape[0] == -1)
    inputs = [spec for spec in required if spec.name not in free]
    for axes in _propose(inputs, rows, opened.model.symbols):
        sizes = {(name, axis): new if role == "step" else past + new for name, (axis, role) in axes.items()}
        sizes |= {(name, axis): past for name, (axis,) in free.items()}
        shapes = {
            spec.name: tuple(
                sizes.get((spec.name, axis), 1) if dim == -1 else dim for axis, dim in enumerate(spec.shape)
            )
            for spec in required
        }
        samples = tuple(
            {
                spec.name: draw_values(
                    Draw(spec, shapes[spec.name], hints.get(spec.name) or InputHints(), number, "plain", rng, shapes)
                )
                for spec in required
            }
            for number in range(_DRAWN)
        )
        try:
            opened.run(samples[0])
        except InvalidModelError:
            continue
        return samples
    return ()


def _propose(
    inputs: Sequence[TensorSpec], rows: frozenset[str], symbols: Mapping[str, tuple[str | None, ...]]
) -> Iterator[dict[str, tuple[int, Role]]]:
    """Roles for all groups of free axes, in the order of what is usual."""
    groups = list(find_time_axes(inputs, rows, symbols))[:_MOST_GROUPS]
    for roles in product(*(_order(group, symbols) for group in groups)):
        yield {
            name: (axis, role)
            for group, role in zip(groups, roles, strict=True)
            for name, axis in group.items()
            if role != "fixed"
        }


def _order(group: Mapping[str, int], symbols: Mapping[str, tuple[str | None, ...]]) -> tuple[Role, ...]:
    """A mask, and a dimension that counts the past, are as long as the sequence."""
    named = [f"{name} {(symbols.get(name) or ('',) * (axis + 1))[axis] or ''}".lower() for name, axis in group.items()]
    if any(re.search("mask|past|total|all", name) for name in named):
        return ("so_far", "step", "fixed")
    return _ROLES


def _grows(opened: OpenedModel, states: Sequence[State], growing: GrowingInputs, past: int, new: int) -> bool:
    whole = growing.draw(0, past + new)
    kept = {state.input: _zeros(state, past) for state in states}
    try:
        outputs = opened.run({**growing.cut(whole, past, past + new), **kept})
    except InvalidModelError:
        return False
    return all(
        outputs[state.output].shape == _zeros(state, past + new).shape for state in states if state.grows is not None
    )


def _zeros(state: State, length: int) -> Array:
    return np.zeros([length if size == -1 else size for size in state.shape], state.first.dtype)
