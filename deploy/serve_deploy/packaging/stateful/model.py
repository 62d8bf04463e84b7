"""A model whose state Triton keeps: find the state, and make the file that is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.implicit_state.layout import State, StateLayout, learn_layout
from serve_deploy.implicit_state.pairing import StatePair, find_pairs
from serve_deploy.implicit_state.ties import find_ties, find_weighed
from serve_deploy.implicit_state.wrapping import ServedState
from serve_deploy.model_config.sequence_batching import SequenceControl
from serve_deploy.packaging.fixes.constant_inputs import fix_inputs
from serve_deploy.packaging.fixes.servable import Servable
from serve_deploy.packaging.stateful.controls import control_values, find_controls
from serve_deploy.packaging.stateful.growing import GrowingInputs, learn_growth
from serve_deploy.packaging.stateful.mapping import find_state_samples, list_recorders, prove_mapping
from serve_deploy.packaging.stateful.served_states import find_obstacle, rewrite_states
from serve_deploy.progress import Progress
from serve_deploy.tensors.casting import cast_array

if TYPE_CHECKING:
    from serve_deploy.onnx.session import Array, Arrays, OpenedModel
    from serve_deploy.packaging.options import PackageOptions
    from serve_deploy.samples.files import Sample, Samples


@dataclass(frozen=True)
class StatefulModel:
    """`original` is run with its state in hand, `opened` is the file that is served.

    `samples` are whole requests to `original`; `obstacle` says why sequences cannot share a batch, if they cannot.
    `rows` are the inputs that have their batch first.
    """

    original: OpenedModel
    opened: OpenedModel
    states: tuple[ServedState, ...]
    controls: tuple[SequenceControl, ...]
    samples: Samples
    samples_are_generated: bool
    first: Mapping[str, Array]
    obstacle: str | None
    next_step: str | None
    proven_by: str
    rows: frozenset[str] = frozenset()
    growing: GrowingInputs | None = None

    @property
    def own_states(self) -> tuple[State, ...]:
        """The states of `original`."""
        return tuple(each.state for each in self.states)

    @property
    def is_moved(self) -> bool:
        """Whether a copy was made only for sequences to share a batch."""
        return any(each.batch_first for each in self.states)

    def make_step(self, number: int, step: int, length: int) -> Arrays:
        """What a client sends, and the controls that Triton adds, of one request of a sequence."""
        controls = control_values(self.original.signature, self.controls, number + 1, step == 0, step == length - 1)
        if self.growing:
            return {**self.growing.make_step(number, step, length), **controls}
        chosen = int(np.random.default_rng([number, step]).integers(len(self.samples)))
        return {**self.client_view(self.samples[chosen]), **controls}

    def client_view(self, arrays: Arrays) -> Sample:
        """Only what a client sends or receives."""
        hidden = {name for state in self.own_states for name in (state.input, state.output)}
        hidden |= {control.input_name for control in self.controls}
        return {name: array for name, array in arrays.items() if name not in hidden}

    def to_served(self, sample: Arrays) -> Sample:
        """A request to `original` as the served file takes it."""
        kept = {each.state.input: each for each in self.states}
        return {
            kept[name].input if name in kept else name: kept[name].to_served(array) if name in kept else array
            for name, array in sample.items()
        }


@dataclass(frozen=True)
class _Found:
    """The model whose state is carried in hand, how that lies in it, and what it is run with."""

    original: OpenedModel
    layout: StateLayout
    controls: tuple[SequenceControl, ...]
    samples: Samples
    growing: GrowingInputs | None
    fixes: tuple[str, ...]


def make_stateful(servable: Servable, options: PackageOptions, progress: Progress) -> tuple[Servable, StatefulModel]:
    """Find the states and rewrite a copy where Triton needs it and `fix` allows it; raises where neither will do."""
    progress(f"finding the state of {servable.opened.model.path.name}")
    found = _find_states(servable.opened, options)
    original = found.original
    recorders = list_recorders(original, found.layout, found.controls, found.samples, found.growing)
    layout, proven_by = prove_mapping(original, found.layout, recorders, options)
    states, rewritten, fixes = rewrite_states(original, layout, options)
    obstacle, next_step = find_obstacle(original, layout, states, found.controls, options)
    stateful = StatefulModel(
        original=original,
        opened=rewritten,
        states=states,
        controls=found.controls,
        samples=found.samples,
        samples_are_generated=options.samples is None,
        first=_read_first(layout.states, options.sequences.initial_files),
        obstacle=obstacle,
        next_step=next_step,
        proven_by=proven_by,
        rows=layout.rows,
        growing=found.growing,
    )
    notes = (*servable.notes, *_describe_doubts(layout.states, found.growing))
    fixes = (*servable.fixes, *found.fixes, *fixes)
    return replace(servable, opened=rewritten, fixes=fixes, notes=notes), stateful


def _find_states(opened: OpenedModel, options: PackageOptions) -> _Found:
    """Pair the states, and run the model to see how they lie; constants and a free batch are made first."""
    asked = options.sequences
    if asked.constant and not options.fix:
        raise UsageError("`constant` changes a copy of the model: it needs `fix`")
    original, fixes = fix_inputs(opened, dict(asked.constant))
    proto = original.parse()
    pairs = find_pairs(original.signature, dict(asked.state), find_ties(proto), find_weighed(proto))
    controls = find_controls(original.signature, {pair.input.name for pair in pairs}, dict(asked.control))
    samples = find_state_samples(original, pairs, controls, options)
    layout = learn_layout(original, pairs, samples)
    wants_batch = options.fix and options.max_batch_size != 0 and not layout.rows
    if wants_batch and (freed := _free_batch(original, layout, samples)):
        original, layout, fix = freed
        fixes = [*fixes, fix]
    growing = None
    if any(state.grows is not None for state in layout.states):
        growing = learn_growth(original, layout.states, layout.rows, samples)
        first = {state.input: state.first for state in layout.states}
        samples = tuple({**sample, **first, **growing.make_step(number, 0, 1)} for number, sample in enumerate(samples))
    return _Found(original, layout, controls, samples, growing, tuple(fixes))


def _free_batch(
    opened: OpenedModel, layout: StateLayout, samples: Samples
) -> tuple[OpenedModel, StateLayout, str] | None:
    """A copy of a model exported for a batch of 1 that runs several rows, where one can be made."""
    from serve_deploy.packaging.fixes.fixed_batch import free_batch

    evidence = {(state.input, state.output): state.evidence for state in layout.states}
    states = {state.input for state in layout.states}
    declared = {spec.name: spec.shape for spec in opened.signature.required_inputs}
    if any(-1 in declared[name] for name in states) or all(declared[n][:1] != (1,) for n in declared.keys() - states):
        return None
    for axis in (1, 0):
        places = {name: axis for pair in evidence for name in pair}
        freed = free_batch(opened, places)
        if freed is None:
            continue
        copy, fix = freed
        specs = {spec.name: spec for spec in (*copy.signature.inputs, *copy.signature.outputs)}
        pairs = [StatePair(specs[one], specs[other], known) for (one, other), known in evidence.items()]
        with suppress(InvalidModelError, UsageError):
            learnt = learn_layout(copy, pairs, samples)
            if learnt.rows:
                return copy, learnt, fix
    return None


def _describe_doubts(states: Sequence[State], growing: GrowingInputs | None) -> Iterator[str]:
    """What only the user can tell, or has to heed."""
    named = [state for state in states if state.evidence == "names"]
    if named:
        pairs = ", ".join(f"{state.input} → {state.output}" for state in named)
        yield f"{pairs}: only names tell these states from other tensors of their type and shape"
    for name in growing.so_far if growing else ():
        yield f"in each request '{name}' is as long as the sequence so far, so that a load test sends first ones only"


def _read_first(states: Sequence[State], files: Mapping[str, Path]) -> dict[str, Array]:
    """The first value of each state of the model as it was exported."""
    known = [state.input for state in states]
    for name in files:
        if name not in known:
            raise UsageError(f"`initial_state`: '{name}' is no state of the model", hint=f"it has: {', '.join(known)}")
    return {state.input: _load_first(state, files) if state.input in files else state.first for state in states}


def _load_first(state: State, files: Mapping[str, Path]) -> Array:
    path = files[state.input]
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise ValueError("it holds several arrays")
        return cast_array(loaded, state.data_type).reshape(state.first.shape)
    except OSError as error:
        raise UsageError(f"`initial_state`: {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise UsageError(
            f"`initial_state`: {path} is not a first value of '{state.input}': {error}",
            hint=f"it is {state.data_type.value} {list(state.first.shape)}",
        ) from error
