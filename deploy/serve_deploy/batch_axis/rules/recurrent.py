"""RNN, LSTM and GRU: along time, each sample by itself."""

from __future__ import annotations

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.elementwise import baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import counts_rows
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, Rows, Value, fixed

_STATES = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}


def recur(call: Call) -> list[Value]:
    """Time on axis 0 and samples on axis 1, or the other way round with layout=1."""
    value, samples_first = call[0], bool(call.attribute("layout", 0))
    call.needs_fixed(1, 2, 3, 7)
    axis = 0 if samples_first else 1
    batched = [call.get(index) for index in (0, 4, *_STATES[call.operator])]
    if not any(each is not None and each.rows is not None for each in batched):
        return [fixed()] * call.output_count
    after = _check_input(value, axis)
    _check_states(call, value, axis)
    directions = 2 if call.attribute("direction", "forward") == "bidirectional" else 1
    hidden = call.attribute("hidden_size") or call[2].known_shape[-1]
    time, size = value.known_shape[1 - axis], value.known_shape[axis]
    if samples_first:
        sequence = Value((size, time, directions, hidden), Rows(0, after))
        state = Value((size, directions, hidden), Rows(0, after))
    else:
        sequence = Value((time, directions, size, hidden), Rows(2, after))
        state = Value((directions, size, hidden), Rows(1, after))
    return [sequence, state, state]


def _check_input(value: Value, axis: int) -> int:
    if value.rows is None:
        raise NotUnderstoodError("takes states from the rows, but its input from elsewhere")
    if value.rows.axis == 1 - axis:
        raise MixesError(
            "runs along the batch axis: what it takes for time is axis 0 of the model's input",
            "export the model with the batch first and time second, and transpose inside it",
        )
    if value.rows.axis != axis:
        raise MixesError("takes the rows of the batch for features")
    return value.rows.after


def _check_states(call: Call, value: Value, axis: int) -> None:
    lengths = call.get(4)
    states = [call.get(index) for index in _STATES[call.operator]]
    for state, place in ((lengths, 0), *((state, axis) for state in states)):
        if state is None:
            continue
        if state.rows is None and not counts_rows(state.known_shape[place]):
            raise baked_in(state.known_shape[place])
        if state.rows is not None and state.rows.axis != place:
            raise MixesError("takes the rows of a state for something else")
        if state.rows is not None and value.rows is not None and state.rows.after != value.rows.after:
            raise NotUnderstoodError("combines rows that lie in a different order")


RULES: dict[str, Rule] = dict.fromkeys(_STATES, recur)
