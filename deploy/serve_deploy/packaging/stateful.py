"""A model whose state Triton keeps: find the state, and make the file that is served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.implicit_state.chunks import CarriedOver, MakeRecording, find_mapping, find_time_axes, record
from serve_deploy.implicit_state.layout import State, StateLayout, learn_layout
from serve_deploy.implicit_state.pairing import StatePair, find_pairs
from serve_deploy.implicit_state.ties import find_ties
from serve_deploy.implicit_state.wrapping import (
    ServedState,
    fix_inputs,
    serve_as_they_are,
    sort_differs,
    wrap_states,
)
from serve_deploy.model_config.sequence_batching import CONTROL_KINDS, ControlKind, SequenceControl, control_fits
from serve_deploy.packaging.growing import GrowingInputs, draw_growing, learn_growth
from serve_deploy.packaging.sample_variants import largest_group
from serve_deploy.packaging.servable import Servable
from serve_deploy.progress import Progress
from serve_deploy.tensors.casting import cast_array
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.onnx.session import Array, Arrays, OpenedModel
    from serve_deploy.packaging.options import PackageOptions
    from serve_deploy.samples.files import Sample, Samples

_BATCH_FIRST = "export the model with the batch as first dimension (batch_first)"
_FREE = "export the model with a free batch (dynamic_axes)"


@dataclass(frozen=True)
class StatefulModel:
    """`original` is run with its state in hand, `opened` is the file that is served.

    `samples` are whole requests to `original`; `obstacle` says why sequences cannot share a batch, if they cannot.
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
        controls = _control_values(self.original.signature, self.controls, number + 1, step == 0, step == length - 1)
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


def make_stateful(servable: Servable, options: PackageOptions, progress: Progress) -> tuple[Servable, StatefulModel]:
    """Find the states and rewrite a copy where Triton needs it and `fix` allows it; raises where neither will do."""
    original, fixes = _fix_inputs(servable.opened, options)
    signature, name = original.signature, original.model.path.name
    progress(f"finding the state of {name}")
    proto = original.parse()
    pairs = find_pairs(signature, dict(options.sequences.state), find_ties(proto))
    controls = _find_controls(signature, pairs, options)
    samples = _find_samples(original, pairs, controls, options)
    layout = learn_layout(original, pairs, samples)
    growing = None
    if any(state.grows is not None for state in layout.states):
        growing = learn_growth(original, layout.states, layout.rows, samples)
        first = {state.input: state.first for state in layout.states}
        samples = tuple({**sample, **first, **growing.make_step(number, 0, 1)} for number, sample in enumerate(samples))
    layout, proven_by = _prove_mapping(
        original, layout, _recorders(original, layout, controls, samples, growing), options
    )
    states, rewritten, more = _rewrite(original, layout, options)
    obstacle, next_step = _find_obstacle(original, layout, states, controls, options)
    stateful = StatefulModel(
        original, rewritten, states, controls, samples, options.samples is None,
        _read_first(layout.states, options), obstacle, next_step, proven_by, growing,
    )  # fmt: skip
    notes = (*servable.notes, *_describe_doubts(layout.states, growing))
    return replace(servable, opened=rewritten, fixes=(*servable.fixes, *fixes, *more), notes=notes), stateful


def _describe_doubts(states: Sequence[State], growing: GrowingInputs | None) -> Iterator[str]:
    """What only the user can tell, or has to heed."""
    named = [state for state in states if state.evidence == "names"]
    if named:
        pairs = ", ".join(f"{state.input} → {state.output}" for state in named)
        yield f"{pairs}: only names tell these states from other tensors of their type and shape"
    for name in growing.so_far if growing else ():
        yield f"in each request '{name}' is as long as the sequence so far, so that a load test sends first ones only"


# --- inputs that become constants -----------------------------------------------------------------------------------


def _fix_inputs(opened: OpenedModel, options: PackageOptions) -> tuple[OpenedModel, list[str]]:
    from serve_deploy.packaging.fixes.model_fixes import reopen

    given = dict(options.sequences.constant)
    if not given:
        return opened, []
    if not options.fix:
        raise UsageError("`constant` changes a copy of the model: it needs `fix`")
    values = {name: _read_value(opened.signature, name, text) for name, text in given.items()}
    proto = opened.parse()
    fix_inputs(proto, values)
    return reopen(opened, proto), [f"input '{name}': fixed to {text}" for name, text in given.items()]


def _read_value(signature: ModelSignature, name: str, text: str) -> Array:
    spec = next((spec for spec in signature.inputs if spec.name == name), None)
    if spec is None:
        known = ", ".join(spec.name for spec in signature.inputs)
        raise UsageError(f"`constant={name}={text}`: the model has no input '{name}'", hint=f"it has: {known}")
    if -1 in spec.shape:
        raise UsageError(f"`constant={name}={text}`: {spec} has a size that is not fixed")
    try:
        value = cast_array(np.array(json.loads(f"[{text}]")), spec.data_type)
        return np.broadcast_to(value.reshape(-1), (int(np.prod(spec.shape)),)).reshape(spec.shape).copy()
    except ValueError as error:
        raise UsageError(f"`constant={name}={text}` is not a value of {spec}", hint=str(error)) from error


# --- inputs that Triton fills ---------------------------------------------------------------------------------------


def _find_controls(
    signature: ModelSignature, pairs: Sequence[StatePair], options: PackageOptions
) -> tuple[SequenceControl, ...]:
    """The controls that were given, and inputs that are called START, END, READY or CORRID."""
    states = {pair.input.name for pair in pairs}
    inputs = {spec.name: spec for spec in signature.required_inputs if spec.name not in states}
    given: dict[str, str] = dict(options.sequences.control)
    found = []
    for kind in CONTROL_KINDS:
        name = given.get(kind, kind)
        spec = inputs.get(name)
        if spec is not None and _can_be_filled(kind, spec):
            found.append(SequenceControl(kind, name, spec.data_type))
        elif kind in given:
            known = f"it has: {', '.join(inputs)}" if spec is None else "a control is [1] for each sequence"
            problem = f"the model has no input '{name}'" if spec is None else f"Triton cannot fill {spec}"
            raise UsageError(f"`control={kind}={name}`: {problem}", hint=known)
    return tuple(found)


def _can_be_filled(kind: ControlKind, spec: TensorSpec) -> bool:
    return control_fits(kind, spec.data_type) and spec.shape[-1:] == (1,) and len(spec.shape) <= 2


def _control_values(
    signature: ModelSignature, controls: Sequence[SequenceControl], sequence: int, starts: bool, ends: bool
) -> Sample:
    """What Triton puts into the controls of one request."""
    ranks = {spec.name: len(spec.shape) for spec in signature.inputs}
    values: dict[ControlKind, int] = {"START": starts, "END": ends, "READY": True, "CORRID": sequence}
    filled = {}
    for control in controls:
        value = values[control.kind]
        text = control.data_type is DataType.BYTES
        array = np.array([str(value)], dtype=object) if text else np.array([value], control.data_type.numpy_name)
        filled[control.input_name] = array.reshape((1,) * ranks[control.input_name])
    return filled


# --- samples --------------------------------------------------------------------------------------------------------


def _find_samples(
    opened: OpenedModel, pairs: Sequence[StatePair], controls: Sequence[SequenceControl], options: PackageOptions
) -> Samples:
    """Whole requests, one row each: the user's with states beside them, else generated ones."""
    from serve_deploy.samples.files import read_samples
    from serve_deploy.samples.generation import generate_samples

    generated = generate_samples(opened)
    whole = generated.samples or draw_growing(opened, pairs)
    if not whole:
        raise VerificationError(
            f"{opened.model.path} accepted none of the {len(generated.attempts)} inputs tried, such as "
            f"{'; '.join(generated.attempts[:1])}",
            hint="give real inputs with `samples`",
        )
    if options.samples is None:
        return whole
    hidden = {pair.input.name for pair in pairs} | {control.input_name for control in controls}
    seen = tuple(spec for spec in opened.signature.inputs if spec.name not in hidden)
    given = largest_group(read_samples(options.samples, ModelSignature(seen, opened.signature.outputs)))
    return tuple({**whole[index % len(whole)], **sample} for index, sample in enumerate(given))


# --- the mapping ----------------------------------------------------------------------------------------------------


def _recorders(
    opened: OpenedModel,
    layout: StateLayout,
    controls: Sequence[SequenceControl],
    samples: Samples,
    growing: GrowingInputs | None,
) -> list[MakeRecording]:
    """Every way to record a sequence in pieces and in one go."""
    if growing:
        return [growing.record] if growing.takes_several else []
    own = {state.input for state in layout.states}
    filled = _control_values(opened.signature, controls, 1, False, False)
    sent = [{name: array for name, array in {**sample, **filled}.items() if name not in own} for sample in samples]
    inputs = [spec for spec in opened.signature.required_inputs if spec.name not in own]
    return [partial(record, sent, axes) for axes in find_time_axes(inputs, layout.rows, opened.model.symbols)]


def _prove_mapping(
    opened: OpenedModel, layout: StateLayout, recorders: Sequence[MakeRecording], options: PackageOptions
) -> tuple[StateLayout, str]:
    """What runs prove of the mapping; UsageError where it is another than the one that was given."""
    carried = find_mapping(opened.run, layout.states, recorders)
    if carried is None:
        return layout, ""
    given = dict(options.sequences.state)
    for state in layout.states:
        right = carried.outputs[state.input]
        if right != state.output and state.input in given:
            raise UsageError(
                f"`state={state.input}={state.output}`: a sequence in {carried.steps} pieces then ends otherwise than "
                f"in one go, and ends the same with {state.input}={right}",
                hint=f"`state={state.input}={right}`",
            )
    states = tuple(replace(state, output=carried.outputs[state.input], evidence="runs") for state in layout.states)
    return replace(layout, states=states), _describe_run(carried)


def _describe_run(carried: CarriedOver) -> str:
    return f"a sequence in {carried.steps} pieces ends as in one go, and not where states are lost or exchanged"


def _read_first(states: Sequence[State], options: PackageOptions) -> dict[str, Array]:
    """The first value of each state of the model as it was exported."""
    files = options.sequences.initial_files
    known = {state.input for state in states}
    for name in files:
        if name not in known:
            raise UsageError(f"`initial_state`: '{name}' is no state of the model", hint=f"it has: {', '.join(known)}")
    return {state.input: _load_first(state, files) if state.input in files else state.first for state in states}


def _load_first(state: State, files: Mapping[str, object]) -> Array:
    path = files[state.input]
    try:
        array = cast_array(np.load(str(path), allow_pickle=False), state.data_type)
        return array.reshape(state.first.shape)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`initial_state`: {path} cannot be the first value of '{state.input}', which is "
            f"{state.data_type.value} {list(state.first.shape)}: {error}"
        ) from error


# --- the served file ------------------------------------------------------------------------------------------------


def _rewrite(
    opened: OpenedModel, layout: StateLayout, options: PackageOptions
) -> tuple[tuple[ServedState, ...], OpenedModel, list[str]]:
    """The served file: the model itself, or with `fix` a copy where Triton could not keep its states."""
    from serve_deploy.packaging.fixes.model_fixes import reopen

    states = layout.states
    mixed = sort_differs([(state.input, state.output) for state in states])
    moved = [state for state in states if state.batch_axis not in (None, 0) and options.max_batch_size != 0]
    growing = [state for state in states if state.grows is not None]
    if growing or mixed:
        _require_fix(opened, states, growing, options)
    if not options.fix or not (mixed or moved or growing):
        return serve_as_they_are(states), opened, []
    proto = opened.parse()
    served = wrap_states(proto, states, batch_first=bool(moved))
    return served, reopen(opened, proto), list(_describe_fixes(served, mixed))


def _require_fix(
    opened: OpenedModel, states: Sequence[State], growing: Sequence[State], options: PackageOptions
) -> None:
    if options.fix:
        return
    if growing:
        raise InvalidModelError(
            f"state '{growing[0].input}' of {opened.model.path} grows with each request and starts empty, which Triton "
            "cannot keep: it starts with one entry",
            hint="`fix` rewrites a copy that does not see this entry",
        )
    inputs = ", ".join(sorted(state.input for state in states))
    outputs = ", ".join(sorted(state.output for state in states))
    raise InvalidModelError(
        f"Triton would mix up the states of {opened.model.path}: by sorted names it pairs {inputs} with {outputs}",
        hint="`fix` renames them in a copy of the model",
    )


def _describe_fixes(served: Sequence[ServedState], mixed: bool) -> Iterator[str]:
    moved = [each for each in served if each.batch_first]
    padded = [each for each in served if each.padded]
    if moved:
        axes = sorted({each.state.batch_axis for each in moved if each.state.batch_axis})
        names = ", ".join(f"'{each.state.input}'" for each in moved)
        yield f"state {names}: moved the batch from axis {axes[0]} to axis 0, where Triton stacks states"
    if padded:
        names = f"'{padded[0].state.input}'" + (f" and {len(padded) - 1} others" if len(padded) > 1 else "")
        yield f"state {names}: starts with one entry that the model does not see, since Triton's cannot be empty"
    if mixed:
        yield "renamed the states, since Triton pairs them by sorted name"


def _find_obstacle(
    opened: OpenedModel,
    layout: StateLayout,
    served: Sequence[ServedState],
    controls: Sequence[SequenceControl],
    options: PackageOptions,
) -> tuple[str | None, str | None]:
    """Why sequences cannot share a batch, and what a user can do; the proof has the last word where nothing is said."""
    for state in layout.states:
        if state.grows is not None:
            return f"state '{state.input}' grows, and sequences of different lengths cannot share a batch", None
    hidden = {state.input for state in layout.states} | {control.input_name for control in controls}
    sent = [spec for spec in opened.signature.required_inputs if spec.name not in hidden]
    alone = [state for state in layout.states if state.batch_axis is None]
    if alone or any(spec.name not in layout.rows for spec in sent):
        return _explain_single(opened, alone[0] if alone else layout.states[0], sent)
    for each in served:
        if each.state.batch_axis != 0 and not each.batch_first:
            reason = (
                f"state '{each.state.input}' has its batch on axis {each.state.batch_axis}, Triton stacks on axis 0"
            )
            return reason, None if options.fix else "`fix` moves it in a copy of the model"
    return None, None


def _explain_single(opened: OpenedModel, state: State, sent: Sequence[TensorSpec]) -> tuple[str, str | None]:
    """Why a model runs one sequence at a time, by its declared shapes."""
    symbols = opened.model.symbols
    batch = {name for name in symbols.get(state.input, ()) if name}
    for spec in sent:
        if not spec.shape:
            reason = f"input '{spec.name}' is one number for all sequences of a batch"
            return reason, f"`constant={spec.name}=…` with `fix` makes it a constant"
        elsewhere = [axis for axis, name in enumerate(symbols.get(spec.name, ())) if axis and name in batch]
        if elsewhere:
            return f"input '{spec.name}' has its batch on axis {elsewhere[0]}", _BATCH_FIRST
        if spec.shape[0] != -1:
            return f"the first dimension of input '{spec.name}' is fixed to {spec.shape[0]}", _FREE
    if -1 not in next(spec.shape for spec in opened.signature.inputs if spec.name == state.input):
        return f"the shape of state '{state.input}' is fixed to one sequence: {list(state.shape)}", _FREE
    return f"state '{state.input}' has no axis on which sequences can be stacked", None
