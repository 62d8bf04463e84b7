"""Whether a state carries a sequence on: run in pieces with the state in hand, a sequence ends as run in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, permutations

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.unrolling import unroll
from serve_deploy.onnx.session import Arrays, Run
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, are_close
from serve_deploy.tensors.types import TensorSpec

STEPS = 50
_SHORT = 4
_SMALL_GROUP, _MOST_MAPPINGS = 4, 32


@dataclass(frozen=True)
class Recording:
    """One sequence, in pieces and in one go."""

    steps: Sequence[Arrays]
    whole: Arrays


# A recording of so many steps.
MakeRecording = Callable[[int], Recording]


@dataclass(frozen=True)
class CarriedOver:
    """The mapping with which a recording in pieces ends as in one go: `outputs` of each state's input, over `steps`."""

    outputs: Mapping[str, str]
    steps: int


def find_time_axes(
    inputs: Sequence[TensorSpec], rows: frozenset[str], symbols: Mapping[str, tuple[str | None, ...]]
) -> Iterator[Mapping[str, int]]:
    """Free axes that may be time, each as the axis of every input that has it; equal symbols are one axis."""
    groups: dict[str, dict[str, int]] = defaultdict(dict)
    for spec in inputs:
        for axis, dim in enumerate(spec.shape):
            if dim != -1 or (axis == 0 and spec.name in rows):
                continue
            symbol = (symbols.get(spec.name) or (None,) * len(spec.shape))[axis]
            groups[symbol or f"{spec.name} {axis}"].setdefault(spec.name, axis)
    yield from groups.values()


def record(samples: Sequence[Arrays], axes: Mapping[str, int], count: int) -> Recording:
    """A sequence of samples, joined along time; what has no time is that of the first sample."""
    chosen = [samples[index % len(samples)] for index in range(count)]
    steps = [{name: sample[name] if name in axes else samples[0][name] for name in sample} for sample in chosen]
    whole = {
        name: np.concatenate([step[name] for step in steps], axis=axes[name]) if name in axes else array
        for name, array in steps[0].items()
    }
    return Recording(steps, whole)


def find_mapping(run: Run, states: Sequence[State], recorders: Sequence[MakeRecording]) -> CarriedOver | None:
    """The mapping that runs prove, the given one first; None where the model has no time axis, or runs do not tell.

    A mapping is proven where a sequence in 50 pieces ends as in one go, and a short one does not with any of the other
    mappings, nor where the states are lost.
    """
    for make in recorders:
        try:
            own = _find_fitting(run, states, _in_one_go(run, states, make(_SHORT)))
            if own is not None and _ends_alike(run, own, _in_one_go(run, states, make(STEPS))):
                return CarriedOver({state.input: state.output for state in own}, STEPS)
        except InvalidModelError:
            continue
    return None


def _in_one_go(run: Run, states: Sequence[State], recording: Recording) -> tuple[Recording, Arrays]:
    """The recording, and what the model answers to the whole of it."""
    return recording, run({**recording.whole, **{state.input: state.first for state in states}})


def _find_fitting(run: Run, states: Sequence[State], short: tuple[Recording, Arrays]) -> Sequence[State] | None:
    fitting = [own for own in _mappings(states) if _ends_alike(run, own, short)]
    if len(fitting) != 1 or _ends_alike(run, fitting[0], short, forget=True):
        return None
    return fitting[0]


def _mappings(states: Sequence[State]) -> Iterator[tuple[State, ...]]:
    """The states as they are, then with outputs exchanged between those of one type and shape."""
    yield tuple(states)
    groups: dict[object, list[int]] = defaultdict(list)
    for index, state in enumerate(states):
        groups[state.data_type, state.shape].append(index)
    for order in islice(_exchanges(list(groups.values())), _MOST_MAPPINGS):
        yield tuple(replace(state, output=states[order.get(index, index)].output) for index, state in enumerate(states))


def _exchanges(groups: Sequence[Sequence[int]]) -> Iterator[dict[int, int]]:
    """Every other order of a small group; of a large one, each neighbour exchanged with the next."""
    for group in groups:
        if len(group) <= _SMALL_GROUP:
            yield from (dict(zip(group, order, strict=True)) for order in islice(permutations(group), 1, None))
        else:
            yield from ({one: other, other: one} for one, other in pairwise(group))


def _ends_alike(run: Run, states: Sequence[State], recorded: tuple[Recording, Arrays], *, forget: bool = False) -> bool:
    """Whether the last states and all outputs of the pieces are those of the whole; `forget` loses every state."""
    recording, wanted = recorded
    pieces = [[step] for step in recording.steps] if forget else [recording.steps]
    try:
        steps = [outputs for piece in pieces for outputs in unroll(run, states, piece)]
    except InvalidModelError:
        return False
    carried = {state.output for state in states}
    return all(
        are_close(steps[-1][name], array, COMPUTED_ELSEWHERE)
        if name in carried or steps[-1][name].shape == array.shape
        else _joined_alike([outputs[name] for outputs in steps], array)
        for name, array in wanted.items()
    )


def _joined_alike(parts: Sequence[np.ndarray], whole: np.ndarray) -> bool:  # type: ignore[type-arg]
    differing = [
        axis for axis, sizes in enumerate(zip(parts[0].shape, whole.shape, strict=False)) if sizes[0] != sizes[1]
    ]
    if parts[0].ndim != whole.ndim or len(differing) != 1:
        return False
    return are_close(np.concatenate(parts, axis=differing[0]), whole, COMPUTED_ELSEWHERE)
