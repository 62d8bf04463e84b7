"""The file that is served: the model itself, or a copy in which Triton can keep its states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError
from serve_deploy.implicit_state.layout import State, StateLayout
from serve_deploy.implicit_state.wrapping import ServedState, serve_as_they_are, sort_differs, wrap_states
from serve_deploy.model_config.sequence_batching import SequenceControl
from serve_deploy.tensors.types import TensorSpec

if TYPE_CHECKING:
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.packaging.options import PackageOptions

_BATCH_FIRST = "export the model with the batch as first dimension (batch_first)"
_MOST_NAMES = 4
_FREE = "export the model with a free batch (dynamic_axes)"


def rewrite_states(
    opened: OpenedModel, layout: StateLayout, options: PackageOptions
) -> tuple[tuple[ServedState, ...], OpenedModel, tuple[str, ...]]:
    """The served file: the model itself, or with `fix` a copy where Triton could not keep its states."""
    from serve_deploy.packaging.fixes.model_fixes import reopen

    states = layout.states
    mixed = sort_differs([(state.input, state.output) for state in states])
    moved = [state for state in states if state.batch_axis not in (None, 0) and options.max_batch_size != 0]
    growing = [state for state in states if state.grows is not None]
    if growing or mixed:
        _require_fix(opened, states, growing, options)
    if not options.fix or not (mixed or moved or growing):
        return serve_as_they_are(states), opened, ()
    proto = opened.parse()
    served = wrap_states(proto, states, batch_first=bool(moved))
    return served, reopen(opened, proto), tuple(_describe_fixes(served, mixed))


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
        where = f"axis {axes[0]}" if len(axes) == 1 else f"axes {' and '.join(map(str, axes))}"
        yield f"{_name_all(moved)}: moved the batch from {where} to axis 0, where Triton stacks states"
    if padded:
        yield f"{_name_all(padded)}: starts with an entry that the model does not see, since Triton's cannot be empty"
    if mixed:
        yield "renamed the states, since Triton pairs them by sorted name"


def _name_all(served: Sequence[ServedState]) -> str:
    names = [f"'{each.state.input}'" for each in served]
    listed = ", ".join(names) if len(names) <= _MOST_NAMES else f"{names[0]} and {len(names) - 1} others"
    return f"state {listed}" if len(names) == 1 else f"states {listed}"


def find_obstacle(
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
