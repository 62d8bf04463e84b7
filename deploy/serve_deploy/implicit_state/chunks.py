"""Whether a state carries a sequence on: run in pieces with the state in hand, a sequence ends as run in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, product

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.unrolling import unroll
from serve_deploy.onnx.session import Arrays, Run
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, are_close
from serve_deploy.tensors.types import TensorSpec

STEPS = 50
_MOST_MAPPINGS = 24


@dataclass(frozen=True)
class Recording:
    """One sequence, in pieces and in one go."""

    steps: Sequence[Arrays]
    whole: Arrays


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


def record(samples: Sequence[Arrays], axes: Mapping[str, int], count: int = STEPS) -> Recording:
    """A sequence of samples, joined along time; what has no time is that of the first sample."""
    chosen = [samples[index % len(samples)] for index in range(count)]
    steps = [{name: sample[name] if name in axes else samples[0][name] for name in sample} for sample in chosen]
    whole = {
        name: np.concatenate([step[name] for step in steps], axis=axes[name]) if name in axes else array
        for name, array in steps[0].items()
    }
    return Recording(steps, whole)


def find_mapping(run: Run, states: Sequence[State], recordings: Sequence[Recording]) -> CarriedOver | None:
    """The mapping that runs prove, the given one first; None where the model has no time axis, or runs do not tell.

    A mapping is proven where the sequence in pieces ends as in one go, and does not where a state is lost, nor where
    two states that could be taken for each other are.
    """
    for recording in recordings:
        try:
            wanted = run({**recording.whole, **{state.input: state.first for state in states}})
        except InvalidModelError:
            continue
        fitting = [own for own in _mappings(states) if _ends_alike(run, own, recording, wanted)]
        if len(fitting) == 1 and not _ends_alike(run, fitting[0], recording, wanted, forget=True):
            return CarriedOver({state.input: state.output for state in fitting[0]}, len(recording.steps))
    return None


def _mappings(states: Sequence[State]) -> Iterator[tuple[State, ...]]:
    """The states as they are, then with outputs exchanged between those of one type and shape."""
    groups: dict[object, list[State]] = defaultdict(list)
    for state in states:
        groups[state.data_type, state.shape].append(state)
    exchanged = ([list(order) for order in permutations(group)] for group in groups.values())
    for orders in islice(product(*exchanged), _MOST_MAPPINGS):
        outputs = {
            state.input: other.output
            for group, order in zip(groups.values(), orders, strict=True)
            for state, other in zip(group, order, strict=True)
        }
        yield tuple(replace(state, output=outputs[state.input]) for state in states)


def _ends_alike(
    run: Run, states: Sequence[State], recording: Recording, wanted: Arrays, *, forget: bool = False
) -> bool:
    """Whether the last states and all outputs of the pieces are those of the whole; `forget` loses every state."""
    try:
        steps = [
            outputs
            for piece in (([step] for step in recording.steps) if forget else [recording.steps])
            for outputs in unroll(run, states, piece)
        ]
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
