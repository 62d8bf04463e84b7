"""How a state lies in its tensors, found by running the model: its sizes, its batch axis, and whether it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.implicit_state.pairing import Evidence, StatePair
from serve_deploy.onnx.session import Array, Arrays, OpenedModel
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

_LIKELY_AXES = (0, 1)


@dataclass(frozen=True)
class State:
    """A state of the model as it was exported; `shape` is that of one sequence.

    `batch_axis` is None where the model runs one sequence at a time; `grows` is the axis that each request makes
    longer, whose size in `shape` is -1.
    """

    input: str
    output: str
    data_type: DataType
    shape: tuple[int, ...]
    batch_axis: int | None
    grows: int | None
    evidence: Evidence

    @property
    def first(self) -> Array:
        """The zeros that a sequence starts from; nothing along an axis that grows."""
        return np.zeros([max(size, 0) for size in self.shape], dtype=self.data_type.numpy_name)


@dataclass(frozen=True)
class StateLayout:
    """The states; `rows` are the other inputs that have the batch first, none where there is no batch."""

    states: tuple[State, ...]
    rows: frozenset[str]


def learn_layout(opened: OpenedModel, pairs: Sequence[StatePair], samples: Sequence[Arrays]) -> StateLayout:
    """Run the model on samples (one row each, states included) and see what becomes of its states.

    UsageError where an output is not the next value of its input.
    """
    outputs = opened.run(samples[0])
    sizes = {pair.input.name: _read_shape(pair, samples[0][pair.input.name], outputs) for pair in pairs}
    axes, rows = _find_batch(opened, pairs, samples, sizes)
    states = tuple(
        State(
            pair.input.name, pair.output.name, pair.input.data_type, shape, axes.get(pair.input.name),
            shape.index(-1) if -1 in shape else None, pair.evidence,
        )
        for pair in pairs
        for shape in (sizes[pair.input.name],)
    )  # fmt: skip
    return StateLayout(states, rows)


def _read_shape(pair: StatePair, state: Array, outputs: Arrays) -> tuple[int, ...]:
    before, after = state.shape, outputs[pair.output.name].shape
    if len(before) != len(after):
        raise _not_next(pair, before, after)
    changed = [axis for axis, sizes in enumerate(zip(before, after, strict=True)) if sizes[0] != sizes[1]]
    if not changed:
        return before
    if len(changed) > 1 or after[changed[0]] < before[changed[0]] or pair.input.shape[changed[0]] != -1:
        raise _not_next(pair, before, after)
    return tuple(-1 if axis == changed[0] else size for axis, size in enumerate(before))


def _not_next(pair: StatePair, before: tuple[int, ...], after: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"output '{pair.output.name}' is not the next value of '{pair.input.name}': "
        f"{list(before)} went in, {list(after)} came out",
        hint="`state` names the right one: IN=OUT",
    )


# --- the batch axis -------------------------------------------------------------------------------------------------


def _find_batch(
    opened: OpenedModel,
    pairs: Sequence[StatePair],
    samples: Sequence[Arrays],
    sizes: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, int], frozenset[str]]:
    """The batch axis of each state with which two stacked samples give as much as both of them; else nothing."""
    states = {pair.input.name for pair in pairs}
    stacked = [spec for spec in opened.signature.required_inputs if spec.name not in states and _has_rows(spec)]
    choices = [_axes(pair.input, opened.model.symbols, stacked) for pair in pairs]
    if not stacked or not all(choices) or len(samples) < 2:
        return {}, frozenset()
    alone = [opened.run(sample) for sample in samples[:2]]
    # Nearly always all states have their batch on one and the same axis.
    for chosen in sorted(product(*choices), key=lambda axes: len(set(axes)))[:8]:
        axes = {pair.input.name: axis for pair, axis in zip(pairs, chosen, strict=True)}
        if any(sizes[name][axis] != 1 for name, axis in axes.items()):
            continue
        joined = axes | {spec.name: 0 for spec in stacked}
        results = {pair.output.name: axes[pair.input.name] for pair in pairs}
        if _gives_both(opened, samples[:2], joined, alone, results):
            return axes, frozenset(spec.name for spec in stacked)
    return {}, frozenset()


def _has_rows(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] == -1


def _axes(state: TensorSpec, symbols: Mapping[str, tuple[str | None, ...]], stacked: Sequence[TensorSpec]) -> list[int]:
    """The axes that may be a state's batch, the likeliest first: called as that of the inputs, else first or second."""
    batch = {symbols[spec.name][0] for spec in stacked if symbols.get(spec.name)} - {None}
    own = symbols.get(state.name, ())
    named = [axis for axis, name in enumerate(own) if name in batch]
    free = [axis for axis in _LIKELY_AXES if axis < len(state.shape) and state.shape[axis] == -1]
    return named or free


def _gives_both(
    opened: OpenedModel,
    samples: Sequence[Arrays],
    joined: Mapping[str, int],
    alone: Sequence[Arrays],
    results: Mapping[str, int],
) -> bool:
    both = {
        name: np.concatenate([sample[name] for sample in samples], axis=joined[name]) if name in joined else array
        for name, array in samples[0].items()
    }
    try:
        outputs = opened.run(both)
    except InvalidModelError:
        return False
    for name, array in outputs.items():
        axis = results.get(name, 0)
        wanted = [result[name] for result in alone]
        if any(axis >= part.ndim for part in wanted) or len({part.shape for part in wanted}) > 1:
            return False
        if array.shape != np.concatenate(wanted, axis=axis).shape:
            return False
    return True


def client_inputs(signature: ModelSignature, states: Sequence[State]) -> tuple[TensorSpec, ...]:
    """The required inputs that are no state."""
    names = {state.input for state in states}
    return tuple(spec for spec in signature.required_inputs if spec.name not in names)
